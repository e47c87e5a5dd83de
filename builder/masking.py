"""Secrets become *** in everything that leaves: replies, records, logs. The second line of defence, not the first."""

from __future__ import annotations

import base64
import json
from typing import cast
from urllib.parse import quote

_MASK = "***"
# Shorter values would mask ordinary words; no forge gives out tokens this short.
_SHORTEST = 6


class Masker:
    """Knows the secrets of one invocation, in the spellings in which they could appear."""

    def __init__(self) -> None:
        self._spellings: list[str] = []

    def add(self, secret: str) -> None:
        """Mask `secret` from now on, also URL-quoted, JSON-escaped and in base64 (alone, or at any offset)."""
        if len(secret) < _SHORTEST:
            return
        spellings = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
        for offset in range(3):
            # The middle of a base64 text does not depend on its neighbours: cut what does.
            encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
            middle = encoded[(0, 2, 3)[offset] : len(encoded) - 1]
            spellings |= {middle, middle.replace("+", "-").replace("/", "_")}
        self._spellings = sorted({*self._spellings, *spellings}, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """`text` without secrets."""
        for spelling in self._spellings:
            text = text.replace(spelling, _MASK)
        return text

    def mask_json(self, value: dict[str, object]) -> dict[str, object]:
        """A copy of a JSON object whose strings have no secrets."""
        return cast("dict[str, object]", self._masked(value))

    def _masked(self, value: object) -> object:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self._masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(item) for item in value]
        return value

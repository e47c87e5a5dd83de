"""Secrets become *** in everything that leaves: replies, records, logs. The second line of defence, not the first."""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

_MASK = "***"
# Shorter values would mask ordinary words; no forge gives out tokens this short.
_SHORTEST = 6
# Larger files than this are not read as text: that takes long, and those who keep a secret in one mean to.
_LARGEST_TEXT = 4 << 20
# A part of a secret (a line of a netrc file, a value of a JSON object) is one of its own if it is longer than this.
_SHORTEST_PART = 8
_HOST = re.compile(r"(?:https?://)?[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?/?[\w./-]*|//[a-z0-9.-]+/:?_?\w*")
# Joins the strings of a list while they are looked through together.
_BETWEEN = "\x1e"
# What a text may be spelled with: percent and \u escapes, line breaks anywhere, also escaped ones, and backslashes.
_PERCENT = r"%[\s\x1e]*[0-9A-Fa-f][\s\x1e]*[0-9A-Fa-f]|"
_OTHERS = (
    r"\\+u[dD][89abAB][0-9A-Fa-f]{2}\\+u[dD][c-fC-F][0-9A-Fa-f]{2}|\\+u[0-9A-Fa-f]{4}|\\+[nrtbf]?"
    r"|[ \t-\r\x1c-\x1f+]+|[^\x00-\x7f]"
)
_SPECIAL, _UNQUOTED = re.compile(_PERCENT + _OTHERS), re.compile(_OTHERS)
_DROPPED = frozenset(b" \t\n\r\v\f\x1c\x1d\x1e\x1f\\+")


class Masker:
    """Knows the secrets of one invocation and finds them in all spellings in which they could appear.

    As they are; URL-quoted; JSON-escaped; in base64 (alone, or at any offset of something longer); each also broken
    into lines, or over the strings of a list.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._literal: tuple[str, ...] = ()
        self._flat: tuple[bytes, ...] = ()

    def add(self, secret: str) -> None:
        """Mask `secret` from now on, and what is a secret in it: its lines, words and JSON values, but no hosts."""
        found = {one for one in (secret, *_parts(secret)) if len(one) >= _SHORTEST} - self._known
        if not found:
            return
        self._known |= found
        spellings = {spelling for one in found for spelling in _spellings(one)}
        flat = {needle for spelling in spellings for needle in _needles(spelling) if len(needle) >= _SHORTEST}
        # Replaced as wholes: another thread may be masking.
        self._literal = tuple(sorted({*self._literal, *spellings}, key=len, reverse=True))
        self._flat = tuple(sorted({*self._flat, *flat}, key=len, reverse=True))

    def mask(self, text: str) -> str:
        """`text` without secrets."""
        if not self._literal:
            return text
        for spelling in self._literal:
            text = text.replace(spelling, _MASK)
        return self._masked_flat(text)

    def contained(self, content: bytes) -> bool:
        """Whether a secret is in `content`: in text however it is spelled, else as it is, URL-quoted or in base64."""
        if any(spelling.encode() in content for spelling in self._literal):
            return True
        is_text = len(content) <= _LARGEST_TEXT and b"\0" not in content
        flats = _both(content.decode("utf-8", "replace")) if is_text else ()
        return any(needle in flat.content for flat in flats for needle in self._flat)

    def mask_json(self, value: dict[str, object]) -> dict[str, object]:
        """A copy of a JSON object whose strings have no secrets."""
        return cast("dict[str, object]", self._masked(value))

    def _masked(self, value: object) -> object:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self._masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            if value and all(isinstance(item, str) for item in value):
                return self.mask_lines(cast("list[str]", value))
            return [self._masked(item) for item in value]
        return value

    def mask_lines(self, lines: list[str] | tuple[str, ...]) -> list[str]:
        """As many lines, without secrets, also where one begins in a line and ends in another."""
        return self.mask(_BETWEEN.join(line.replace(_BETWEEN, " ") for line in lines)).split(_BETWEEN)

    def _masked_flat(self, text: str) -> str:
        spans = []
        for flat in _both(text):
            for needle in self._flat:
                at = flat.content.find(needle)
                while at >= 0:
                    spans.append((flat.origin(at), flat.origin(at + len(needle) - 1, end=True)))
                    at = flat.content.find(needle, at + 1)
        for start, end in _merged(spans):
            text = text[:start] + _MASK + _BETWEEN * text.count(_BETWEEN, start, end) + text[end:]
        return text


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that do not overlap, the last one first."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged[::-1]


@dataclass(frozen=True)
class _Flat:
    """A text in one spelling, as UTF-8. Byte i is from `starts[k] + i - at[k]` of the text, k the piece it is in."""

    content: bytes
    at: list[int]
    starts: list[int]
    ends: list[int]

    def origin(self, index: int, *, end: bool = False) -> int:
        """Where in the text the byte begins, or ends."""
        piece = bisect_right(self.at, index) - 1
        if self.ends[piece] >= 0:  # an escape: one or some bytes for several characters
            return self.ends[piece] if end else self.starts[piece]
        return self.starts[piece] + index - self.at[piece] + end


def _both(text: str) -> Iterator[_Flat]:
    """The text flattened, with percent escapes resolved and, where there may be some, as they are.

    A secret that ends with `%` makes an escape with what follows it, which is none.
    """
    for decode in (True, False) if "%" in text else (True,):
        if (flat := _flattened(text, decode=decode)) is not None:
            yield flat


def _flattened(text: str, *, decode: bool = True, letters: bool = False) -> _Flat | None:
    """The text with escapes resolved, without blanks, line breaks, backslashes and `+`; None if it has none of these.

    Args:
        decode: resolve percent escapes.
        letters: of `\\n` and `\\u0041`, keep the letters.
    """
    content = bytearray()
    at: list[int] = []
    starts: list[int] = []
    ends: list[int] = []

    def put(data: bytes, start: int, end: int) -> None:
        if data:
            at.append(len(content))
            starts.append(start)
            ends.append(end)
            content.extend(data)

    position = 0
    for match in (_SPECIAL if decode else _UNQUOTED).finditer(text):
        found = match[0]
        put(text[position : match.start()].encode(), position, -1)
        position = match.end()
        if found[0] == "%":
            data = bytes.fromhex("".join(found[1:].replace(_BETWEEN, "").split()))
        elif found[0] == "\\":
            data = found.replace("\\", "").encode() if letters else _unescaped(found)
        else:
            data = found.encode("utf-8", "surrogatepass") if ord(found[0]) > 127 else b""
        put(b"" if len(data) == 1 and data[0] in _DROPPED else data, match.start(), match.end())
    if not position and decode:
        return None
    put(text[position:].encode(), position, -1)
    return _Flat(bytes(content), at, starts, ends)


def _unescaped(found: str) -> bytes:
    if "u" not in found:
        return b""  # a line break, or a backslash before what needs one
    units = "".join(chr(int(unit, 16)) for unit in re.findall(r"u([0-9A-Fa-f]{4})", found))
    return units.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8", "replace")


def _needles(spelling: str) -> Iterator[bytes]:
    """What `spelling` looks like in a flattened text; in two ways if it has `%41`, `\\n` or `\\u0041` in it as such."""
    for decode in (True, False):
        for letters in (True, False):
            flat = _flattened(spelling, decode=decode, letters=letters)
            yield spelling.encode() if flat is None else flat.content


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield from _base64(secret)


def _base64(secret: str) -> Iterator[str]:
    """Base64 of the secret at each of the three offsets, without what depends on its neighbours; both alphabets."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode()
        middle = encoded.rstrip("=")[(0, 2, 3)[offset] :]
        middle = middle[:-1] if encoded.endswith("=") else middle
        yield middle
        yield middle.replace("+", "-").replace("/", "_")


def _parts(secret: str) -> Iterator[str]:
    """What is secret by itself in a secret of several lines, words or JSON values."""
    try:
        value: object = json.loads(secret)
    except ValueError:
        value = None
    if isinstance(value, dict | list):
        for text in _texts(value):
            yield text
            yield from _parts(text)
        return
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) > _SHORTEST_PART and not line.startswith("-----"))
    if re.search(r"\s|_authToken=", secret):
        words = (word for word in re.split(r"[\s\"'=;,]+", secret) if len(word) > _SHORTEST_PART)
        yield from (word for word in words if not _HOST.fullmatch(word) and not word.startswith("-----"))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and len(value) > _SHORTEST_PART and not _HOST.fullmatch(value):
        yield value

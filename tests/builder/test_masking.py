"""Secrets are found in every spelling in which they could leave."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from builder.masking import Masker

SECRET = 'ghp_9f/2+k"Z\\x~token'


def masker() -> Masker:
    made = Masker()
    made.add(SECRET)
    return made


def test_every_spelling_is_masked() -> None:
    spellings = [SECRET, quote(SECRET, safe=""), json.dumps(SECRET)]
    for spelling in spellings:
        assert "9f" not in masker().mask(f"before {spelling} after")


@given(st.binary(max_size=7), st.binary(max_size=7))
def test_basic_authentication_is_masked_whatever_surrounds_the_token(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + after).decode()
    masked = masker().mask(encoded)
    assert "***" in masked
    assert len(masked) < len(encoded) - 15


def test_json_is_masked_deeply_and_short_values_are_left() -> None:
    made = masker()
    made.add("main")
    assert made.mask_json({"a": [{"b": f"x{SECRET}"}], SECRET: 1, "ref": "main"}) == {
        "a": [{"b": "x***"}],
        "***": 1,
        "ref": "main",
    }

"""Secrets are found in every spelling in which they could leave."""

from __future__ import annotations

import base64
import json
import textwrap
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builder.masking import Masker

SECRET = 'ghp_9f/2+k"Z\\x~token'
# At its ends a backslash or a `+` would be left as what a line break leaves: nothing that says anything.
SECRETS = st.tuples(
    st.sampled_from("aZ9"), st.text(st.characters(exclude_categories=["C", "Z"]), min_size=8), st.sampled_from("aZ9")
).map("".join)
# What surrounds a secret in a text: nothing that an escape could run into.
TEXTS = st.text("abc (){}:,.\n", max_size=20)


def masker(*secrets: str) -> Masker:
    made = Masker()
    for secret in secrets or (SECRET,):
        made.add(secret)
    return made


def flat(text: str) -> str:
    """Without what line breaking adds."""
    return "".join(text.split())


def wrapped(text: str, width: int) -> str:
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


@given(SECRETS, TEXTS, TEXTS)
@example("abc\\nb\\tc\\fd%41", "", "")
@example("aaaaaaaa", "aaa", "")
@example("000000%0a0\\u0041", "", "")
def test_a_secret_is_masked_however_it_is_written(secret: str, before: str, after: str) -> None:
    made = masker(secret)
    for spelling in (
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.isascii() and secret.islower() else quote(secret, safe="!*'()"),
        "".join(f"%{byte:02x}" for byte in secret.encode()),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
    ):
        masked = made.mask(before + spelling + after)
        assert "***" in masked
        assert len(masked) <= len(before) + len(after) + 3, (spelling, masked)


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7), st.integers(1, 80))
def test_base64_is_masked_whatever_surrounds_the_secret_and_wherever_it_is_broken(
    secret: str, before: bytes, after: bytes, width: int
) -> None:
    made = masker(secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + after).decode()
        for text in (encoded, quote(encoded, safe=""), json.dumps(encoded)):
            # The characters at both ends have bits of the neighbours in them.
            rest = len(flat(made.mask(wrapped(text, width))).replace("***", ""))
            assert rest <= len(text) - len(encode(secret.encode()).decode().rstrip("=")) + 4, text


@given(SECRETS, st.integers(1, 30), st.integers(0, 9))
@example("a0000000%a", 1, 0)  # "after" begins with a hexadecimal digit
@example("a00000000%", 3, 0)
def test_a_secret_broken_into_lines_is_masked(secret: str, width: int, indent: int) -> None:
    made = masker(secret)
    text = textwrap.indent(wrapped(secret, width), " " * indent)
    assert flat(made.mask(text)) == "***"
    assert flat(made.mask(json.dumps(text)[1:-1]).replace("\\n", "")) == "***"
    lines = wrapped(secret, width).split("\n")
    masked = made.mask_json({"log_tail": ["before", *lines, "after"]})
    assert masked == {"log_tail": ["before", "***", *[""] * (len(lines) - 1), "after"]}


def test_json_is_masked_deeply_and_short_values_are_left() -> None:
    made = masker()
    made.add("main")
    assert made.mask_json({"a": [{"b": f"x{SECRET}"}], SECRET: 1, "ref": "main"}) == {
        "a": [{"b": "x***"}],
        "***": 1,
        "ref": "main",
    }


@given(st.text(max_size=200))
def test_a_text_without_secrets_stays(text: str) -> None:
    assert masker("0123456789secret").mask(text) == text


@pytest.mark.parametrize(
    "secret",
    [
        "machine packages.example.org login deploy password s3cr3t-pass-1\n",
        "//registry.npmjs.org/:_authToken=s3cr3t-pass-1",
        json.dumps({"host": "packages.example.org", "login": {"password": "s3cr3t-pass-1"}}),
        "-----BEGIN KEY-----\ns3cr3t-pass-1\n-----END KEY-----\n",
    ],
)
def test_what_is_secret_in_a_file_is_masked_by_itself_but_its_hosts_are_not(secret: str) -> None:
    made = masker(secret)
    assert made.mask("it was s3cr3t-pass-1!") == "it was ***!"
    text = "GET https://packages.example.org/simple and registry.npmjs.org, -----BEGIN KEY-----, login"
    assert made.mask(text) == text
    assert made.contained(b"\0s3cr3t-pass-1\0")
    assert made.contained(base64.encodebytes(b"x" * 50 + b"s3cr3t-pass-1" + b"y" * 50))
    assert not made.contained(b"\0s3cr3t-pass\0")

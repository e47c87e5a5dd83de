"""Secrets are found in every spelling in which they could leave."""

from __future__ import annotations

import base64
import html
import json
import quopri
import re
import shlex
import textwrap
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builder.secrets.masking import Masker

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


@given(
    st.sampled_from(["token-1234", "nine9nine", "41bcdef", "ab12cdef", "[31mred", "]0;title", "u0041xyz", "3;a-b-c-d"]),
    st.lists(
        st.sampled_from(
            ["\\", "%", "%4", "=", "&", "&#x", "\x1b", "\x1b[", "\x1b]", "\x9b", "\\u00", "\\x", "\x07", "a", " "]
        ),
        max_size=4,
    ).map("".join),
    st.sampled_from(["", "%41", ";", "\x07", "m", "=\n", "\\n", "\x1b\\"]),
)
def test_nothing_before_or_behind_a_secret_hides_it(secret: str, before: str, after: str) -> None:
    masked = masker(secret).mask(before + secret + after)
    assert "***" in masked
    assert secret not in masked
    assert base64.b64encode(secret.encode()).decode()[2:-4] not in masker(secret).mask(
        before + base64.b64encode(secret.encode()).decode() + after
    )


def html_numbers(secret: str) -> str:
    return "".join(f"&#x{ord(letter):x};" for letter in secret)


def coloured(secret: str) -> str:
    return "\x1b[01;31m\x1b[K".join(secret) + "\x1b[m"


def utf_16(coding: str) -> Callable[[str], str]:
    return lambda secret: secret.encode(coding).decode("latin-1") if secret.isascii() else secret


def twice(first: Callable[[bytes], bytes], second: Callable[[bytes], bytes]) -> Callable[[str], str]:
    return lambda secret: second(first(b"user:" + secret.encode() + b"@\n")).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "capitals": str.upper,
    "small letters": str.lower,
    "URL": lambda secret: quote(secret, safe=""),
    "URL of a form": quote_plus,
    "URL, all of it": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret))[3:-3],
    "hexadecimal": lambda secret: secret.encode().hex(),
    "HEXADECIMAL": lambda secret: secret.encode().hex().upper(),
    "hexadecimal with colons": lambda secret: secret.encode().hex(":"),
    "hexadecimal escapes": lambda secret: "".join(f"\\x{byte:02x}" for byte in secret.encode()),
    "HTML": lambda secret: html.escape(secret),
    "HTML, all of it": html_numbers,
    "quoted-printable": lambda secret: quopri.encodestring(secret.encode()).decode(),
    "quoted-printable, all of it": lambda secret: "".join(f"={byte:02X}" for byte in secret.encode()),
    "base32": lambda secret: base64.b32encode(secret.encode()).decode(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 of base64": twice(base64.b64encode, base64.b64encode),
    "base64 of base64 for URLs": twice(base64.urlsafe_b64encode, base64.urlsafe_b64encode),
    "UTF-16 LE": utf_16("utf-16-le"),
    "UTF-16 BE": utf_16("utf-16-be"),
    "base64 of UTF-16 LE": lambda secret: base64.b64encode(secret.encode("utf-16-le")).decode(),
    "base64 of UTF-16 BE": lambda secret: base64.b64encode(secret.encode("utf-16-be")).decode(),
    "hexadecimal of UTF-16": lambda secret: secret.encode("utf-16").hex(),
    "Python's repr": lambda secret: repr(secret)[1:-1],
    "Python's ascii": lambda secret: ascii(secret)[1:-1],
    "Python's repr of bytes": lambda secret: repr(secret.encode())[2:-1],
    "octal escapes": lambda secret: "".join(f"\\{byte:03o}" if byte > 126 else chr(byte) for byte in secret.encode()),
    "braced escapes": lambda secret: "".join(
        f"\\u{{{ord(letter):x}}}" if letter > "~" else letter for letter in secret
    ),
    "a shell's quotes": shlex.quote,
    "a shell's trace": lambda secret: "'" + secret.replace("'", "'\\''") + "'",
    "a shell's backslashes": lambda secret: re.sub(r"([^\w@%+=:,./-])", r"\\\1", secret),
    "SQL": lambda secret: "'" + secret.replace("'", "''") + "'",
    "CSV": lambda secret: '"' + secret.replace('"', '""') + '"',
    "basic auth": lambda secret: "Basic " + base64.b64encode(b"user:" + secret.encode()).decode(),
    "a URL's user": lambda secret: f"u:{quote(secret, safe='')}@h",
    "colours": coloured,
    "colours in JSON": lambda secret: json.dumps(coloured(secret))[1:-1],
}
# What may be left of a spelling: at the ends of codes, letters and bytes that depend on the neighbours.
LEFT = {
    "base32": 8,
    "base64 of base64": 32,
    "base64 of base64 for URLs": 32,
    "hexadecimal of UTF-16": 4,
    "basic auth": 16,
    "colours in JSON": 9,
}


@pytest.mark.parametrize("name", SPELLINGS)
@given(secret=SECRETS, before=TEXTS, after=TEXTS)
@example(secret="a%41b=41c&amp;d\\x41e", before="key=", after="=41")
@example(secret="aaaaaaaaaa", before="a=", after="\n")
@example(secret="pass'wörd\"界😀", before="", after="")
def test_a_secret_is_masked_in_every_spelling(name: str, secret: str, before: str, after: str) -> None:
    spelling = SPELLINGS[name](secret)
    masked = masker(secret).mask(f"{before} {spelling} {after}")
    assert "***" in masked
    left = masked.replace("***", "", 1)
    around = f"{before}  {after}"
    assert len(left.encode("utf-16")) <= len(around.encode("utf-16")) + 2 * LEFT.get(name, 6), (spelling, masked)


@pytest.mark.parametrize("name", [name for name in SPELLINGS if "base64 of base64" not in name])
@given(secret=st.text("abcdXYZ0123456789_!&%=~", min_size=4, max_size=5), before=TEXTS, after=TEXTS)
def test_a_short_secret_is_masked_where_a_key_says_that_it_is_one(
    name: str, secret: str, before: str, after: str
) -> None:
    made = masker(json.dumps({"user": "me", "db_password": secret}))
    masked = made.mask(f"{before} {SPELLINGS[name](secret)} {after}")
    assert "***" in masked, (SPELLINGS[name](secret), masked)


@given(st.text(st.sampled_from("abcdefghijklmno \n\t:,.=%&;\\-+_/<>\"'{}0123456789"), max_size=300))
@example("the s3-cret; x=41 %41 &amp; \\n \x1b[1mbold\x1b[0m")
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    made = masker("Zq7wXkP9vT2s", json.dumps({"password": "Zq7w", "token": "QzQzQ"}))
    assert made.mask(text) == text


def test_short_secrets_are_not_put_together_from_words() -> None:
    made = masker(json.dumps({"password": "tree"}))
    text = "a str eet, at re-entry: t\nree and t\tree"
    assert made.mask(text) == text
    assert made.mask("a tree, a TREE") == "a ***, a ***"


@pytest.mark.parametrize(
    ("secret", "hidden", "kept"),
    [
        ("machine h.example login deploy password ab12 account x9y8\n", ("ab12", "x9y8"), ("deploy", "h.example")),
        (json.dumps({"host": "db1", "user": "mini", "pin_token": "ab12", "port": 5432}), ("ab12",), ("mini", "5432")),
        (json.dumps({"api_key": {"value": 90210}}), ("90210",), ("value",)),
        ("[default]\nuser = mini\npassword = 'ab12'\nTOKEN: x9y8\n", ("ab12", "x9y8"), ("mini", "default", "password")),
        ("//registry.example/:_authToken=ab12\n", ("ab12",), ("registry.example",)),
    ],
)  # fmt: skip
def test_values_of_keys_like_password_are_secrets_from_four_letters_on(
    secret: str, hidden: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    made = masker(secret)
    for word in hidden:
        assert made.mask(f"<{word}>") == "<***>"
        assert not made.contained(f"<{word}>".encode()), "it is in many an artifact without being the secret"
    for word in kept:
        assert made.mask(f"<{word}>") == f"<{word}>"


def test_what_is_called_a_password_is_one_from_four_letters_on() -> None:
    made = masker("0123456789secret")
    made.add("ab12", key="/pypi/password")
    made.add("main", key="team/branch")
    assert made.mask("ab12 main") == "*** main"


def test_where_something_was_found_is_right_in_long_texts() -> None:
    line = "a line = with \\n some%20 escapes &amp; =\n more\n"
    for spelling in (SECRET, quote(SECRET, safe=""), html.escape(SECRET), f"=\n{SECRET}"):
        text = line * 100 + f"<{spelling}>" + line * 100
        masked = masker().mask(text)
        assert masked in (line * 100 + "<***>" + line * 100, line * 100 + "<=\n***>" + line * 100)


def test_json_is_masked_deeply_and_short_values_are_left() -> None:
    made = masker()
    made.add("main")
    assert made.mask_json({"a": [{"b": f"x{SECRET}"}], SECRET: 1, "ref": "main"}) == {
        "a": [{"b": "x***"}],
        "***": 1,
        "ref": "main",
    }


def answered(payload: object) -> Any:
    """The reply of a deploy that has tried the function."""
    return {"statusCode": 200, "invoke": {"status": 200, "size": 90210, "payload": payload}}


@given(st.integers(1000) | st.floats(1000, allow_nan=False, allow_infinity=False))
@example(90210)
@example(1e100)
def test_a_secret_that_is_a_number_is_masked_as_one(number: float) -> None:
    text = json.dumps(number)
    for made in (masker(json.dumps({"pin_token": number})), masker(json.dumps({"password": text}))):
        reply = answered({"pin": number, "other": [number, {"text": text}], "n": 7})
        assert made.mask_json(reply) == answered({"pin": "***", "other": ["***", {"text": "***"}], "n": 7})
        assert made.mask(f"it is {text}.") == "it is ***."


@pytest.mark.parametrize(("secret", "number"), [("00123456", 123456), ("1.50e6", 1500000.0), ("1234567", 1234567.0)])
def test_a_number_is_masked_however_the_secret_writes_it(secret: str, number: float) -> None:
    made = Masker()
    made.add(secret, key="pin_token")
    assert made.mask_json(answered([number, number + 1])) == answered(["***", number + 1])


def test_a_secret_that_reads_as_true_or_false_is_masked_like_any_other() -> None:
    made = Masker()
    made.add("false", key="a/password")
    assert made.mask_json(answered([False, True, "false", None])) == answered(["***", True, "***", None])


def test_numbers_that_the_builder_itself_tells_stay() -> None:
    """Otherwise whoever adds up sizes would have to reckon with stars."""
    made = masker(json.dumps({"password": 90210}))
    assert made.mask_json(answered("x")) == answered("x")


def test_whether_a_secret_is_masked_can_be_asked() -> None:
    made = masker("abcdef", "abcde", json.dumps({"password": "abcd", "pin": 1}))
    made.add("abc", key="password")
    assert [made.masks(one) for one in ("abcdef", "abcd", "abcde", "abc")] == [True, True, False, False]


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

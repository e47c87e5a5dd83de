"""Real inputs made wrong: bytes anywhere, and values of a structure. All of it follows from a `random.Random`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random

# What has been the end of a parser before: no texts of files, too long for one, halves of URLs and of requirements.
TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\n",
    "\ud800",
    "\u202e",
    "é" * 130,
    "x" * 300,
    "d/" * 3000,
    "..",
    "../../../etc/passwd",
    "/",
    "./",
    "http://[x]/",
    "https://[x",
    "https://[x]/a-1.0.tar.gz",
    "https://h:99999999/",
    "https://h:x/a-1.0.tar.gz",
    "//[",
    "git+",
    "git+https://h/a@",
    "git+https://h",
    "file:",
    "file://[",
    "===",
    "== ==",
    "===1 ; python_version",
    '; python_version === "3',
    "[",
    "[]",
    "a[",
    "${X}",
    "@",
    "-r",
    "-",
    "--hash=",
    "sha256:",
    "#egg=",
    "%",
    "%00",
    "{",
    "}",
    "{0}",
    "\\",
    '"',
    "'",
    "1e999",
    "nan",
    "-1",
    "٣",
    "²",
    "9" * 5000,
)
VALUES: tuple[object, ...] = (None, True, False, 0, 1, -1, 2**63, 2**4000, -0.5, 1e308, math.inf, [], {}, [[]], [None])
_TOKENS = (
    *(text.encode("utf-8", "surrogatepass") for text in TEXTS),
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\ud800",
    b"null",
    b"NaN",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\x00" * 16,
    b"\xff" * 8,
)
_NUMBERS = (0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1)


def damaged(data: bytes, by: Random) -> bytes:
    """`data` with up to four changes at random places."""
    for _ in range(by.randint(1, 4)):
        at, to = sorted((by.randint(0, len(data)), by.randint(0, len(data))))
        match by.randrange(9):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ by.randint(1, 255)]) + data[at + 1 :]
            case 1 if by.random() < 0.3:
                data = data[:to]
            case 2:
                data = data[:at] + data[min(to, at + 64) :]
            case 3:
                data = data[:to] + data[at : min(to, at + 4096)] + data[to:]
            case 4:
                data = data[:at] + by.randbytes(by.randint(1, 8)) + data[at:]
            case 5:
                width = by.choice((1, 2, 4, 8))
                number = by.choice(_NUMBERS) & (1 << 8 * width) - 1
                data = data[:at] + number.to_bytes(width, "little") + data[at + width :]
            case 6:
                data = data[:at] + by.choice(_TOKENS) + data[at:]
            case 7:
                data = data[:at] + by.choice(_TOKENS) + data[min(to, at + 16) :]
            case 8:  # lines, or what is between them, in another order
                lines = data.split(b"\n")
                one, other = by.randrange(len(lines)), by.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                data = b"\n".join(lines)
    return data


def changed(value: object, by: Random) -> object:
    """A copy of `value` (of JSON or TOML) with up to three of its members changed, moved, doubled or gone."""
    value = _copied(value)
    for _ in range(by.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return _odd(by, value)
        holder, key = by.choice(places)
        match by.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[by.choice(TEXTS)] = holder.pop(key)
            case 2:
                other, its = by.choice(places)
                if its in other if isinstance(other, dict) else its < len(other):
                    holder[key] = _copied(other[its])
            case 3 if isinstance(holder[key], str):
                text = holder[key]
                at = by.randint(0, len(text))
                holder[key] = text[:at] + by.choice(TEXTS) + text[at + by.randrange(3) :]
            case 4:
                holder[key] = [holder[key]]
            case 5:
                holder[key] = {by.choice(TEXTS): holder[key]}
            case _:
                holder[key] = _odd(by, holder[key])
    return value


def _odd(by: Random, instead_of: object) -> object:
    """Something else; texts are mostly replaced by texts."""
    if by.random() < (0.6 if isinstance(instead_of, str) else 0.2):
        return by.choice(TEXTS)
    return _copied(by.choice(VALUES))


def _copied(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _places(value: object):  # type: ignore[no-untyped-def]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield value, key
        yield from _places(item)


def as_json(value: object) -> bytes:
    """The value as JSON, as strange as it is: NaN, lone surrogates as escapes."""
    return json.dumps(value).encode()


def as_toml(value: object) -> bytes:
    """The document as TOML: tables inline below the top; what TOML has no word for is left out."""
    if not isinstance(value, dict):
        return _toml(value).encode("utf-8", "replace")
    lines = (f"{_quoted(str(key))} = {_toml(item)}\n" for key, item in value.items() if item is not None)
    return "".join(lines).encode("utf-8", "surrogatepass")


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value) if value.bit_length() < 10_000 else "0"
        case float():
            return str(value)
        case dict():
            return "{ " + ", ".join(f"{_quoted(str(k))} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
        case list():
            return "[" + ", ".join(_toml(item) for item in value if item is not None) + "]"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


Structure = tuple[Callable[[bytes], object], Callable[[object], bytes]]


def mutated(sample: bytes, structure: Structure | None, by: Random) -> bytes:
    """`sample` made wrong, by its `structure` (how it is read and written) as often as by its bytes."""
    if structure is None or by.random() < 0.4:
        return damaged(sample, by)
    read, write = structure
    made = write(changed(read(sample), by))
    return damaged(made, by) if by.random() < 0.1 else made

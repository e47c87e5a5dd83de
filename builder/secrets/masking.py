"""Turns secrets into *** in everything that leaves: replies, records, logs. The second line of defence, not the first.

A text is searched in several *views*: without blanks and colours, with one kind of escape resolved, in small letters.
A secret is turned into *needles*, which are what its spellings look like in a view.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar, cast
from urllib.parse import quote

from builder.secrets.parts import KEY, SHORTEST_PART, number, parts
from builder.secrets.views import ALPHABET, BLANK, DROPPED, KINDS, Places, flattened

M = TypeVar("M", bound=Mapping[str, object])

_MASK = b"***"
# Shorter values would mask ordinary words; no forge gives out tokens this short.
SHORTEST = 6
# Under a key that says so (`password`, `token`), a value of this length is a secret.
_SHORTEST_OF_KEY = 4
# The member of a reply that is a function's own, of any type.
_FOREIGN = "payload"
# Larger files are not read as text: that takes long, and no one has a secret in one by accident.
_LARGEST_TEXT = 4 << 20
# A shorter text is a line.
_LINE = 1000
# Joins the strings of a list while they are searched together.
_BETWEEN = "\x1e"

# --- needles --------------------------------------------------------------------------------------------------------


class _Needles(NamedTuple):
    """Spellings to look for: in a view in small letters, in one as it is, and in the data itself in small letters.

    `strict` are those, of the first two, of short secrets: they count only without a blank in between, because many
    ordinary words have them. `solid` are spellings in content that is not text. The `beginnings` of those in views show
    quickly that a line has none of them.
    """

    folded: frozenset[bytes] = frozenset()
    exact: frozenset[bytes] = frozenset()
    literal: frozenset[bytes] = frozenset()
    strict: frozenset[bytes] = frozenset()
    solid: frozenset[bytes] = frozenset()
    beginnings: frozenset[bytes] = frozenset()

    def with_those_of(self, other: _Needles) -> _Needles:
        return _Needles(*(mine | theirs for mine, theirs in zip(self, other, strict=True)))


def _needles(secret: str) -> _Needles:
    """Return the needles of one secret."""
    shortest = min(len(secret), SHORTEST)
    cases = {secret, secret.upper(), secret.lower(), *_spelled(secret)}
    texts = [secret, quote(secret, safe=""), json.dumps(secret)[1:-1]]
    own, wide = _bytes(secret), [secret.encode(coding, "surrogatepass") for coding in ("utf-16-le", "utf-16-be")]
    contents = [*dict.fromkeys(map(_bytes, texts)), *wide]
    flat = {
        flattened(_bytes(case), kind, letters=letters).lower()
        for case in cases
        for kind in KINDS
        for letters in (False, True)
    }
    hexes = [content.hex() for content in contents]
    folded = flat | {text.encode() for text in hexes}
    folded |= {own.hex(":").encode(), *(piece.lower() for piece in _coded(own, base64.b32encode, 5))}
    single = {piece for content in contents for piece in _coded(content, base64.b64encode, 6)}
    inside = {piece for encode in (base64.b64encode, base64.urlsafe_b64encode) for piece in _coded(own, encode, 6)}
    twice = {piece for inner in inside for piece in _coded(inner, base64.b64encode, 6)}
    exact = {piece.translate(ALPHABET, DROPPED) for piece in single | twice}
    # A secret of mostly dropped bytes leaves too little to find in a view: look for it in the data itself.
    literal = {_bytes(text).lower() for text in texts} if any(len(one) < shortest for one in flat) else set()
    kept = [frozenset(one for one in found if len(one) >= shortest) for found in (folded, exact)]
    upper = (text.upper() for text in hexes)
    spelled = (*contents, *single, *inside, *(text.encode() for text in (*hexes, *upper)))
    return _Needles(
        folded=kept[0],
        exact=kept[1],
        literal=frozenset(literal),
        strict=kept[0] | kept[1] if len(secret) < SHORTEST else frozenset(),
        solid=frozenset(one for one in spelled if len(one) >= SHORTEST),
        beginnings=frozenset(one[:_SHORTEST_OF_KEY] for one in kept[0] | kept[1]),
    )


def _spelled(secret: str) -> Iterator[str]:
    """Yield spellings of languages that no view resolves: quotes within quotes, and letters as numbers."""
    for quote_, others in (("'", ("'\\''", "'\"'\"'", "''")), ('"', ('""',))):
        if quote_ in secret:
            yield from (secret.replace(quote_, other) for other in others)
    if not secret.isascii():
        yield ascii(secret)[1:-1]  # Python, Go
        yield "".join(f"\\u{{{ord(letter):x}}}" if letter > "~" else letter for letter in secret)  # Rust, JavaScript
        yield "".join(f"\\{byte:03o}" if byte > 126 else chr(byte) for byte in _bytes(secret))  # shells, git


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _coded(content: bytes, encode: Callable[[bytes], bytes], bits: int) -> Iterator[bytes]:
    """Yield the content in a code of `bits` a letter, at each offset, without letters that depend on its neighbours."""
    for offset in {5: range(5), 6: range(3)}[bits]:
        first, last = -(-8 * offset // bits), 8 * (offset + len(content)) // bits
        yield encode(b"\0" * offset + content)[first:last]


# --- the masker -----------------------------------------------------------------------------------------------------


class Masker:
    """Knows the secrets of one invocation and finds them in all spellings that could appear.

    As they are, in capitals, URL-quoted, JSON-escaped, with HTML's entities, quoted-printable, in hexadecimal, base32,
    base64 (alone, or at any offset of something longer, also twice), UTF-16; each also with colours in it, broken into
    lines, or over the strings of a list.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._numbers: set[float] = set()
        self._needles = _Needles()
        # For artifacts: many contain a short text without it being the secret.
        self._long_needles = _Needles()

    def add(self, secret: str, *, key: str = "") -> None:
        """Mask `secret` from now on, with the secrets inside it: its lines, words and JSON values, but no hosts.

        Args:
            key: its name; if that says `password` or the like, a shorter one is masked as well.
        """
        shortest = _SHORTEST_OF_KEY if KEY.search(key) else SHORTEST
        found: dict[str, bool] = {secret: len(secret) >= SHORTEST} if len(secret) >= shortest else {}
        # A tool may print one line of a key file, or one value of a JSON secret.
        for part, is_keyed in parts(secret):
            if len(part) >= (_SHORTEST_OF_KEY if is_keyed else SHORTEST):
                found.setdefault(part, len(part) >= SHORTEST_PART)
        for one in found.keys() - self._known:
            needles = _needles(one)
            # Replaced as a whole, because another thread may be masking.
            self._needles = self._needles.with_those_of(needles)
            if found[one]:
                self._long_needles = self._long_needles.with_those_of(needles)
        self._known |= found.keys()
        self._numbers |= {each for each in map(number, found) if each is not None}

    def masks(self, secret: str) -> bool:
        """Tell whether a secret that was added is masked as a whole: one that is too short is not."""
        return secret in self._known

    def mask(self, text: str) -> str:
        """Return `text` without secrets."""
        # Read once: `add` may replace it meanwhile.
        needles = self._needles
        if not any(needles) or not text:
            return text
        data = _bytes(text)
        spans = list(_spans_of(data, needles))
        if not spans:
            return text
        kept, position = [], 0
        for start, end in _merged(spans):
            kept += [data[position:start], _MASK, b"\x1e" * data.count(b"\x1e", start, end)]
            position = end
        return b"".join([*kept, data[position:]]).decode("utf-8", "surrogatepass")

    def contained(self, content: bytes) -> bool:
        """Tell whether a secret is in `content`: in text however it is spelled, else in its most common spellings."""
        needles = self._long_needles
        if any(spelling in content for spelling in needles.solid):
            return True
        is_text = len(content) <= _LARGEST_TEXT and b"\0" not in content
        return is_text and next(_spans_of(content, needles), None) is not None

    def mask_json(self, value: M) -> M:
        """Return a copy of a JSON object, of the same form, whose strings have no secrets.

        What a function answered, under the key `payload`, has also no numbers that are one, and no `true` or `false`.
        """
        return cast("M", self._masked(value))

    def _masked(self, value: object, *, foreign: bool = False) -> object:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {
                self.mask(str(key)): self._masked(item, foreign=foreign or key == _FOREIGN)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            lines = [item for item in value if isinstance(item, str)]
            if lines and len(lines) == len(value):
                return self.mask_lines(lines)
            return [self._masked(item, foreign=foreign) for item in value]
        # Sizes and times are our own, and stay numbers for whoever calculates with them.
        return self._masked_scalar(value) if foreign and value is not None else value

    def _masked_scalar(self, value: object) -> object:
        text = json.dumps(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (is_number and value in self._numbers) or self.mask(text) != text:
            return _MASK.decode()
        return value

    def mask_lines(self, lines: list[str] | tuple[str, ...]) -> list[str]:
        """Return as many lines, without secrets, also if one begins in a line and ends in another."""
        return self.mask(_BETWEEN.join(line.replace(_BETWEEN, " ") for line in lines)).split(_BETWEEN)


def _spans_of(data: bytes, needles: _Needles) -> Iterator[tuple[int, int]]:
    """Yield the places in `data` that must be masked."""
    small = data.lower() if needles.literal else b""
    for needle in needles.literal:
        yield from ((at, at + len(needle)) for at in _found(small, needle))
    views: list[bytes] = []
    for kind in KINDS:
        if kind not in data:
            continue
        view = flattened(data, kind)
        # Most texts have no escapes: their views are all the same, and one is searched.
        if view in views:
            continue
        views.append(view)
        places: Places | None = None
        for looked, wanted in ((view.lower(), needles.folded), (view, needles.exact)):
            if len(looked) < _LINE and needles.beginnings.isdisjoint(_fours(looked)):
                continue
            for needle in wanted:
                if needle not in looked:  # the usual case, and quicker than a loop that finds nothing
                    continue
                for at in _found(looked, needle):
                    places = places or Places(data, kind)
                    start, end = places.origin(at), places.origin(at + len(needle) - 1, end=True)
                    if needle not in needles.strict or not BLANK.search(data, start, end):
                        yield start, end


def _fours(text: bytes) -> Iterator[bytes]:
    return (text[at : at + _SHORTEST_OF_KEY] for at in range(len(text)))


def _found(text: bytes, needle: bytes) -> Iterator[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge spans that overlap; return them in order."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged

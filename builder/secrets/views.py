"""Views of a text in which a secret looks the same however it is broken up or escaped, and the way back to the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

# Bytes that may be anywhere in a secret without being part of it: blanks, line breaks and other control characters, the
# NULs of UTF-16, backslashes; and `+`, which may be a blank in a URL. `-` goes, and `_` becomes `/`, so that the two
# alphabets of base64 become one.
DROPPED = bytes(range(33)) + b"\x7f\\+-"
ALPHABET = bytes.maketrans(b"_", b"/")
BLANK = re.compile(rb"[\s\x1e]")
_COLOUR = rb"(?:\[[0-?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,200}?(?:\x07|\x1b\\)|[0-?]{0,40}[@-~])"
_CODE = rb"u[dD][89abAB][0-9A-Fa-f]{2}\\+u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbf]"


def _of_percent(found: bytes) -> bytes:
    return bytes.fromhex(BLANK.sub(b"", found[1:]).decode())


def _of_quoted_printable(found: bytes) -> bytes:
    return bytes.fromhex(found[1:].decode()) if found[-1:].isalnum() else b""


def _of_html(found: bytes) -> bytes:
    from html import unescape

    return unescape(found.decode()).encode("utf-8", "surrogatepass")


def _of_backslash(found: bytes) -> bytes:
    code = re.fullmatch(rb"\\+(?:x(?P<byte>[0-9A-Fa-f]{2})|u[0-9A-Fa-f]{4}(?:\\+u[0-9A-Fa-f]{4})?)", found)
    if code is None:
        return b""  # a line break, or a backslash before a character that needs one
    if code["byte"]:
        return bytes.fromhex(code["byte"].decode())
    units = "".join(chr(int(unit, 16)) for unit in re.findall(rb"u([0-9A-Fa-f]{4})", found))
    return units.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8", "replace")


# The kinds of escapes that a view resolves, by a byte that each has; backslashes are resolved beside each. The first
# kind resolves nothing, so that no escape can hide the beginning of what follows it: `\\token`, `%41`, `key=ab`. For
# the same reason each kind has its own view. Every alternative begins with a byte of its own, because only then does
# Python's `re` skip quickly over text that begins with none of them.
KINDS: Mapping[bytes, tuple[bytes, Callable[[bytes], bytes]]] = {
    b"": (b"", bytes),
    b"\\": (b"", bytes),
    b"%": (rb"|%[\s\x1e]*[0-9A-Fa-f][\s\x1e]*[0-9A-Fa-f]", _of_percent),
    b"&": (rb"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});", _of_html),
    b"=": (rb"|=[ \t]*[\r\n\x1e]+|=[0-9A-Fa-f]{2}", _of_quoted_printable),
    b"[": (rb"|\x1b" + _COLOUR + rb"|\xc2\x9b" + _COLOUR, lambda found: b""),
}


@cache
def _escapes(kind: bytes) -> re.Pattern[bytes]:
    # Colours in JSON also begin with a backslash.
    colour = rb"(?:u001[bB]|x1[bB]|033|e)(?=[\[\]])" + _COLOUR + b"|" if kind == b"[" else b""
    return re.compile(rb"\\\\*(?:" + colour + _CODE + b")?" + KINDS[kind][0])


def _resolved(found: bytes, kind: bytes, *, letters: bool = False) -> bytes:
    """Return what an escape stands for; `letters` keeps those of `\\n` and `\\u0041`, as if a line ended after `\\`."""
    if not found.startswith(b"\\"):
        return KINDS[kind][1](found)
    return found.replace(b"\\", b"") if letters else _of_backslash(found)


def flattened(data: bytes, kind: bytes, *, letters: bool = False) -> bytes:
    """Return the view of `data`, in its own letters."""
    if kind:
        data = _escapes(kind).sub(lambda match: _resolved(match[0], kind, letters=letters), data)
    return data.translate(ALPHABET, DROPPED)


class Places:
    """Origins in the data of the bytes of a view. Built only after a needle was found, since it is slow."""

    def __init__(self, data: bytes, kind: bytes) -> None:
        self._data, self._kind = data, kind
        self._starts, self._at = [0], [0]
        for boundary in _BOUNDARIES.finditer(data):
            if boundary.end() - self._starts[-1] >= _BLOCK:
                self._at.append(self._at[-1] + len(flattened(data[self._starts[-1] : boundary.end()], kind)))
                self._starts.append(boundary.end())
        self._pieces: dict[int, _Pieces] = {}

    def origin(self, index: int, *, end: bool = False) -> int:
        """Return the place in the data where the byte of the view begins, or ends."""
        block = bisect_right(self._at, index) - 1
        if block not in self._pieces:
            start = self._starts[block]
            stop = self._starts[block + 1] if block + 1 < len(self._starts) else len(self._data)
            self._pieces[block] = _Pieces.of(self._data[start:stop], self._kind)
        return self._starts[block] + self._pieces[block].origin(index - self._at[block], end=end)


_RUNS = re.compile(b"[^" + re.escape(DROPPED) + b"]+")
# The end of a line that no escape crosses.
_BOUNDARIES = re.compile(rb"[^%=\\\s][^%=\\\s][^%=\\\s]\n(?=[^\s])")
# Pieces are found for the block of a match only: for all of a long log they would take seconds.
_BLOCK = 500


class _Pieces(NamedTuple):
    """Pieces of a view: byte i is from `starts[k] + i - at[k]` of the data, k being its piece.

    A piece that is an escape has its end in `ends`, others have -1.
    """

    at: list[int]
    starts: list[int]
    ends: list[int]

    @classmethod
    def of(cls, data: bytes, kind: bytes) -> _Pieces:
        """Return the pieces of the view that `flattened` makes."""
        size, pieces = 0, cls([], [], [])

        def put(length: int, start: int, end: int = -1) -> None:
            nonlocal size
            if length:
                pieces.at.append(size)
                pieces.starts.append(start)
                pieces.ends.append(end)
                size += length

        def put_runs(start: int, end: int) -> None:
            for run in _RUNS.finditer(data, start, end):
                put(len(run[0]), run.start())

        position = 0
        for match in _escapes(kind).finditer(data) if kind else ():
            put_runs(position, match.start())
            put(len(_resolved(match[0], kind).translate(None, DROPPED)), *match.span())
            position = match.end()
        put_runs(position, len(data))
        return pieces

    def origin(self, index: int, *, end: bool = False) -> int:
        """Return the place in the data where the byte begins, or ends."""
        piece = bisect_right(self.at, index) - 1
        if self.ends[piece] >= 0:  # an escape: one or some bytes for several
            return self.ends[piece] if end else self.starts[piece]
        return self.starts[piece] + index - self.at[piece] + end

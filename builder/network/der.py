"""Reads DER, the binary form of keys and certificates, as far as it is needed here."""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE = 0x30


def elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element in turn.

    Raises:
        ValueError, IndexError: they are cut off.
    """
    while content:
        tag, size, start = content[0], content[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(content[2:start], "big")
        if start + size > len(content):
            raise ValueError("cut off")
        yield tag, content[start : start + size]
        content = content[start + size :]


def sequence(der: bytes) -> list[tuple[int, bytes]]:
    """Return the elements of a DER sequence that is all of `der`.

    Raises:
        ValueError, IndexError: it is not one.
    """
    ((tag, content),) = elements(der)
    if tag != SEQUENCE:
        raise ValueError("no sequence")
    return list(elements(content))

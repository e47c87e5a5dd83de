"""Sizes, times and long lists as people read them. A kB is 1,000 bytes, a MB 1,000 of these."""

from __future__ import annotations

from collections.abc import Sequence


def size(count: float) -> str:
    """Return an artifact's size, given in bytes, in MB or kB."""
    return megabytes(count) if count >= 1e6 else f"{count / 1e3:.1f} kB"


def storage(count: float) -> str:
    """Return what is stored, given in bytes, in GB or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else megabytes(count)


def megabytes(count: float, form: str = ".1f") -> str:
    """Return a number of bytes in MB, formatted as Python's `form` says."""
    return f"{count / 1e6:{form}} MB"


def amount(count: float) -> str:
    """Return a number of bytes in the unit that fits it."""
    if count >= 1e6:
        return storage(count)
    return size(count) if count >= 1e3 else f"{count:.0f} B"


def seconds(count: float, digits: int = 0) -> str:
    """Return a time with so many digits behind the point."""
    return f"{count:.{digits}f} s"


def some(names: Sequence[str], most: int, joint: str = ", ") -> str:
    """Return the first `most` names, and how many more there are; `joint` may be a semicolon."""
    more = len(names) - most
    return joint.join(names[:most]) + (f"{joint.strip(', ')} and {more} more" if more > 0 else "")

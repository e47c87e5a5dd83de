"""The question after a mistyped name: did you mean this one?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Only this much of a typed text is compared: no name that it could mean is longer.
_TYPED = 80


def nearest(typed: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` if something known is like `typed`, else ""."""
    return meant(alike(typed[:_TYPED], known))


def alike(typed: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known texts that are like `typed`, the most similar first; `cutoff` is from 0 (any) to 1 (equal)."""
    import difflib

    return difflib.get_close_matches(typed, known, n=most, cutoff=cutoff)


def meant(names: Sequence[str]) -> str:
    """Return `; did you mean X or Y?` with the names, "" without any."""
    return f"; did you mean {' or '.join(names)}?" if names else ""

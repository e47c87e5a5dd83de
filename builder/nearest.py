"""The question after a mistyped name: did you mean this one?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Of what was typed, so much is compared: nothing that it could have meant is longer.
_TYPED = 80


def nearest(typed: str, known: Iterable[str]) -> str:
    """`; did you mean X?` if something known is like `typed`, else nothing."""
    return meant(alike(typed[:_TYPED], known))


def alike(typed: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return what is known and like `typed`, the most alike first; `cutoff` is from 0, anything, to 1, the same."""
    import difflib

    return difflib.get_close_matches(typed, known, n=most, cutoff=cutoff)


def meant(names: Sequence[str]) -> str:
    """`; did you mean X or Y?` of the names, or nothing if there are none."""
    return f"; did you mean {' or '.join(names)}?" if names else ""

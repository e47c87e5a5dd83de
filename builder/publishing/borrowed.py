"""Functions that have borrowed layers attached: a layer version is removed only if no borrower has it.

`borrowed/LAYER/FUNCTION.json` in the store, written before a build attaches such a version, and never removed: a build
uses any layer in the account with the right content, and a build file may name layers from elsewhere. So the builder
need not list all functions of the account, whose variables it would see.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from builder.arns import name_of_layer
from builder.errors import AccessDenied, FunctionMissing
from builder.publishing.listing import function_versions
from builder.spec.layer_names import own_prefix
from builder.store.keeping import Damaged

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.store.s3 import S3Store
    from builder.workspace.directory import Deadline

# A version with a younger note may be about to be attached. Builders' clocks differ by less.
_YOUNG_S = 3600.0
_MOST = 1000


def note(store: S3Store, function: str, arns: Iterable[str]) -> None:
    """Note the layer versions about to be attached, except for those of the function's own layers."""
    names = {name_of_layer(arn) for arn in arns if arn.startswith("arn:")}
    others = [name for name in sorted(names) if not name.startswith(own_prefix(function))]
    if others:
        store.write_all({f"borrowed/{name}/{function}.json": {"at": time.time()} for name in others})


def is_noted(store: S3Store, function: str, arn: str) -> bool:
    """Tell whether a build of the function has attached a version of that layer, or was about to."""
    return store.exists(f"borrowed/{arn.split(':')[6]}/{function}.json")


def attached(
    clients: Clients, store: S3Store, function: str, layers: Collection[str], deadline: Deadline, *, now: float
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ARNs that the function or a borrower of its `layers` has attached, in any version.

    The second set names layers that must stay: their borrowers cannot be asked, or may be about to attach a version.
    """
    borrowers: dict[str, set[str]] = {}
    unknown = set[str]()
    for layer in layers:
        found = store.first_names(f"borrowed/{layer}", _MOST)
        # Bounded: asking each borrower takes a call. Beyond the limit the layer simply stays.
        if len(found) == _MOST:
            unknown.add(layer)
        # The age of a damaged note is unknown: it may be young.
        notes = store.look_at_all(found, lambda kept: kept.number("at"))
        if any(isinstance(at, Damaged) or now - at < _YOUNG_S for at in notes):
            unknown.add(layer)
        for name in found:
            borrowers.setdefault(name.rpartition("/")[2].removesuffix(".json"), set()).add(layer)
    arns = set[str]()
    for name in (function, *borrowers):
        try:
            for each in function_versions(clients, name, deadline):
                arns.update(each.layers)
        except FunctionMissing:
            continue
        except AccessDenied:
            # A borrower that may not be read may have any version attached, so none may be removed.
            unknown |= borrowers.get(name, set(layers))
    return frozenset(arns), frozenset(unknown)

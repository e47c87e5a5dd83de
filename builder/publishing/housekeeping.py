"""Versions of a function and of its layers that are no longer needed, and their removal.

A version is removed for one of two reasons:
- The build file says `keep: N` and it is older than the newest N. Without that line nothing is removed for its age: the
  builder does not know who invokes a version by its number, from a rule or another account, so only the project can
  rule that out.
- No build that ended well ever named a layer version, and nothing has it attached: a builder was killed between
  publishing it and the end of its build. No one can know of those, so they are always removed an hour later.

Regardless of the reason, these stay: versions that an alias serves, also with a part of the traffic; what the function,
or another that the builder has given a layer of it (`borrowed`), has attached, in `$LATEST` or in a published version;
what one of the newest N successful builds of the function deployed, which is as far as a rollback reaches; the newest;
a layer version of the last hour, which a build may be about to attach; what was published before the oldest build that
the store still knows, or by a builder with another store. The builder does not see versions that are attached by other
means; functions keep a removed version that they have.

Artifacts stay in the store (bootstrap/lifecycle.py), so if a rollback misses a version anyway, it is published from
there: a layer version that another function has borrowed, for one, is not protected by that function's records.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from builder.aws import aws_errors
from builder.errors import FunctionMissing, LambdasmithError
from builder.publishing import borrowed
from builder.publishing.layers import is_from
from builder.publishing.listing import (
    LayerVersion,
    aliased_versions,
    check_time,
    layer_versions,
    published_versions,
)
from builder.records.record import DeploymentRecord
from builder.spec.layer_names import layer_name
from builder.store.keeping import Damaged

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.progress import Progress
    from builder.records.record import Record
    from builder.store.s3 import S3Store
    from builder.workspace.directory import Deadline

# A build, of this function or of another that shares a layer, lasts 15 minutes at most. An hour also exceeds the
# difference of clocks.
_IN_USE_S = 3600.0
# Number of builds that are searched for layer versions. Versions published before the oldest of them ended were judged
# when those builds ended.
_RECORDS, _MOST_RECORDS = 20, 1000


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Result of one successful build; `ended` is in seconds since 1970.

    `layers` are ARNs, `named` the layers' names with their components.
    """

    version: str | None
    layers: frozenset[str]
    ended: float
    named: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, kept: DeploymentRecord, ended: float) -> Deployment:
        return cls(
            version=kept.version or None,
            layers=frozenset(str(row.arn) for row in kept.layers),
            ended=ended,
            named=tuple((row.layer, row.component) for row in kept.layers),
        )

    def own_layers(self, function: str) -> Iterator[str]:
        """Yield the names of the layers that builds of the function publish.

        Layers from elsewhere belong to someone else.
        """
        for layer, component in self.named:
            if layer == layer_name(function, component):
                yield layer


@dataclass(frozen=True, kw_only=True)
class History:
    """Successful builds of a function, newest first. `complete`: there are no older ones."""

    deployments: tuple[Deployment, ...]
    complete: bool

    @property
    def layers(self) -> frozenset[str]:
        """ARNs of the layer versions that they name."""
        return frozenset[str]().union(*(each.layers for each in self.deployments))

    def newest(self, count: int) -> History:
        return History(deployments=self.deployments[:count], complete=False)

    def would_know(self, layer: LayerVersion) -> bool:
        """Tell whether these include every build that can have named it: builds name only versions of their time."""
        return bool(self.deployments) and layer.created > self._oldest + (0 if self.complete else _IN_USE_S)

    def reaches(self, layer: LayerVersion) -> bool:
        """Tell whether the oldest of these builds, or a later one, may have published it."""
        return bool(self.deployments) and layer.created > self._oldest - _IN_USE_S

    @property
    def _oldest(self) -> float:
        return self.deployments[-1].ended


def superseded_versions(
    numbers: Collection[int], *, keep: int | None, aliased: Collection[str], history: History
) -> tuple[int, ...]:
    """Return the versions of a function to remove.

    Args:
        numbers: its published versions.
        keep: from 1; None removes nothing.
        aliased: versions that an alias serves, as the aliases name them.
    """
    if keep is None:
        return ()
    served = {*aliased, *(each.version for each in history.newest(keep).deployments)}
    return tuple(number for number in sorted(numbers)[:-keep] if str(number) not in served)


def superseded_layers(
    layers: Iterable[LayerVersion], *, keep: int | None, attached: Collection[str], history: History, now: float
) -> tuple[LayerVersion, ...]:
    """Return the layer versions to remove.

    Args:
        layers: all versions of the layers of one function.
        attached: ARNs that a function has, of any function and any version that stays.
        now: seconds since 1970.
    """
    known = history.layers
    needed = {*attached, *(history.newest(keep).layers if keep else known)}
    gone = []
    for _, group in groupby(sorted(layers, key=lambda each: (each.layer, each.number)), key=lambda each: each.layer):
        versions = list(group)
        old = versions[:-keep] if keep else []
        for each in versions[:-1]:
            orphan = each.arn not in known and history.would_know(each)
            goes = orphan or (each in old and history.reaches(each))
            if goes and each.arn not in needed and now - each.created > _IN_USE_S:
                gone.append(each)
    return tuple(gone)


def tidy(
    clients: Clients,
    store: S3Store,
    function: str,
    *,
    keep: int | None,
    deployment: DeploymentRecord,
    records: Callable[[int], Sequence[Record | Damaged]],
    deadline: Deadline,
    progress: Progress,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """Remove versions that are no longer needed; return sentences about it.

    Called at the end of a build that published a version or a layer, while no other build of the function may run and
    before its own record is written. A failure is a warning, and the rest is left for the next build.

    Args:
        keep: of the build file.
        deployment: of this build, as its record will have it.
        records: returns a number of records of the function, newest first. If one cannot be read, nothing is removed:
            it may name any version.
    """
    done: list[str] = []
    try:
        now = clock()
        present = Deployment.of(deployment, now)
        found, history = _look_back(records, present, keep or 0)
        keep = keep if history.complete or len(history.deployments) >= (keep or 0) else None
        if keep is not None:
            _remove_versions(clients, function, keep, history, deadline, done)
        names = {name for each in (present, *found) for name in each.own_layers(function)}
        # After the versions of the function: a layer that only a removed version had is then free.
        listed = [each for name in sorted(names) for each in layer_versions(clients, name, deadline)]
        # Versions from another builder are left to it: only its records know who needs them.
        listed = [each for each in listed if is_from(each.description, store)]
        _remove_layers(clients, store, function, listed, keep, history, deadline, done, now=now)
    except LambdasmithError as error:
        progress.warn(f"{function} is deployed, but old versions are left in the account: {error.message}")
    return done


def _look_back(
    records: Callable[[int], Sequence[Record | Damaged]], present: Deployment, keep: int
) -> tuple[Sequence[Deployment], History]:
    """Return the deployments of the newest records, and the history with `present`, of `keep` builds if possible.

    Failed builds also have records, so the number of records to read is not known beforehand.
    """
    count = max(_RECORDS, keep)
    while True:
        found = records(count)
        deployed = list(_deployments(found))
        history = History(deployments=(present, *deployed), complete=len(found) < count)
        if history.complete or len(history.deployments) >= keep or count == _MOST_RECORDS:
            return deployed, history
        # Bounded: each record is a read, and many failed builds must not use up the time of this one.
        count = min(4 * count, _MOST_RECORDS)


def _deployments(records: Iterable[Record | Damaged]) -> Iterator[Deployment]:
    for record in records:
        if isinstance(record, Damaged):
            raise record.error("delete that object, and deploy again")
        if record.deployment is not None:
            yield Deployment.of(record.deployment, record.ended_s)


def _remove_versions(
    clients: Clients, function: str, keep: int, history: History, deadline: Deadline, done: list[str]
) -> None:
    numbers = list(published_versions(clients, function, deadline))
    if len(numbers) <= keep:
        return
    # Read after the list of versions: an alias may have moved to one of them meanwhile.
    aliased = list(aliased_versions(clients, function, deadline))
    for number in superseded_versions(numbers, keep=keep, aliased=aliased, history=history):
        doing = f"removing version {number} of {function}"
        check_time(doing, deadline)
        with contextlib.suppress(FunctionMissing), aws_errors(doing):
            # Lambda refuses this for a version that an alias serves by now, so the race is harmless.
            clients.lambda_.delete_function(FunctionName=function, Qualifier=str(number))
        done.append(f"removed version {number} of {function}")


def _remove_layers(
    clients: Clients,
    store: S3Store,
    function: str,
    layers: Sequence[LayerVersion],
    keep: int | None,
    history: History,
    deadline: Deadline,
    done: list[str],
    *,
    now: float,
) -> None:
    if not superseded_layers(layers, keep=keep, attached=(), history=history, now=now):
        return  # asking for their borrowers would change nothing
    names = {each.layer for each in layers}
    attached, unknown = borrowed.attached(clients, store, function, names, deadline, now=now)
    for each in superseded_layers(layers, keep=keep, attached=attached, history=history, now=now):
        if each.layer in unknown:
            continue
        doing = f"removing version {each.number} of layer {each.layer}"
        check_time(doing, deadline)
        with aws_errors(doing):
            clients.lambda_.delete_layer_version(LayerName=each.layer, VersionNumber=each.number)
        done.append(f"removed version {each.number} of layer {each.layer}")

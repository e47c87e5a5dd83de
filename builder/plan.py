"""Decides which components are built and which are reused. Pure functions of values.

The decision is made before anything is built, from what the project asks for and what the store has. Which artifacts
are published is decided later, in `publication`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from builder.errors import InvalidEvent
from builder.nearest import nearest

if TYPE_CHECKING:
    from builder.replies.deploys import PrunedRow, TakenLibrary

Kind = Literal["function", "dependencies", "layer"]
Action = Literal["reuse", "build"]
KINDS: tuple[Kind, ...] = ("function", "dependencies", "layer")
ACTIONS: tuple[Action, ...] = ("reuse", "build")
DEPENDENCIES = "dependencies"
FUNCTION = "function"

# Lambda's quotas: bytes of the unzipped function with its layers; layers per function.
MAX_UNZIPPED = 262_144_000
MAX_LAYERS = 5
# How many of the changed inputs a sentence names.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A zip in the store. Sizes in bytes, `sha256` in hex, `pruned` is [{rule, files, bytes}].

    `native_libraries` come from the build machine: [{library, from, size, sha256, needed_by}]; `missing_libraries` are
    names that were not found there.
    """

    sha256: str
    size: int
    unzipped: int
    files: int
    pruned: tuple[PrunedRow, ...] = ()
    contents: tuple[str, ...] = ()  # what went into it: "requests 2.34.2", …
    parts: tuple[str, ...] = ()  # names of the parts of `contents` in the store, where it is made of parts
    notes: tuple[str, ...] = ()  # what the user should know of it, every time it is used
    native_libraries: tuple[TakenLibrary, ...] = ()
    missing_libraries: tuple[str, ...] = ()

    @property
    def code_sha256(self) -> str:
        """Hash in base64, as Lambda reports it."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()

    @property
    def name(self) -> str:
        """Name in the store."""
        return f"artifacts/{self.sha256}.zip"

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the store and the reply."""
        return {
            "sha256": self.sha256,
            "size": self.size,
            "unzipped": self.unzipped,
            "files": self.files,
            "pruned": [dict(row) for row in self.pruned],
            "contents": list(self.contents),
            "parts": list(self.parts),
            "notes": list(self.notes),
            "native_libraries": [dict(row) for row in self.native_libraries],
            "missing_libraries": list(self.missing_libraries),
        }


# Placeholder for what a dry run does not build: its content is unknown, and so is whether anything must be published.
UNBUILT = Artifact(sha256="", size=0, unzipped=0, files=0)


@dataclass(frozen=True, kw_only=True)
class Component:
    """A thing with a zip of its own. `key` is the hash of its inputs; `artifact` is set if the store has it."""

    name: str
    kind: Kind
    key: str
    artifact: Artifact | None = None


@dataclass(frozen=True, kw_only=True)
class ComponentPlan:
    """What happens to a component, and why, in words. `changed` are the inputs that differ from the last deploy's."""

    component: Component
    action: Action
    why: str
    changed: tuple[str, ...] = ()


def choose_components(known: Sequence[str], wanted: Sequence[str], *, function_exists: bool) -> tuple[str, ...]:
    """Return the names to look at, in the build file's order.

    A new function needs all of its layers, whatever was requested.

    Raises:
        InvalidEvent: a wanted component is not in the build file.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        problems = [f"component {name!r} is not in the build file{nearest(name, known)}" for name in unknown]
        raise InvalidEvent(
            "; ".join(problems), hint=f"components of this project: {', '.join(known)}", problems=problems
        )
    if not wanted or not function_exists:
        return tuple(known)
    return tuple(name for name in known if name in wanted)


def plan_components(
    components: Sequence[Component], changed: Mapping[str, Sequence[str]], *, force: bool
) -> tuple[ComponentPlan, ...]:
    """Reuse what the store has under the same key, build the rest.

    Args:
        changed: inputs that differ from the last deploy's, by component, as far as they are known.
    """
    plans = []
    for component in components:
        differing = tuple(changed.get(component.name, ()))
        if component.artifact is not None and not force:
            # Reused without a change, or because an earlier build had the same inputs.
            why = "built before from the same inputs" if differing else "its inputs have not changed"
            plans.append(ComponentPlan(component=component, action="reuse", why=why, changed=differing))
        elif component.artifact is not None:
            plans.append(ComponentPlan(component=component, action="build", why="requested by force"))
        elif differing:
            why = f"{', '.join(differing[:_SHOWN])}{' …' if len(differing) > _SHOWN else ''}"
            plans.append(ComponentPlan(component=component, action="build", why=why, changed=differing))
        else:
            plans.append(ComponentPlan(component=component, action="build", why="not built from these inputs before"))
    return tuple(plans)


def changed_inputs(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Describe the differences between two states of a component's inputs: `app.py`, `+ new.py`, `- old.py`.

    A version is shown: `requests 2.31.0 → 2.32.5`. Hashes, which begin with `#`, are not.
    """
    rows = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if old is None:
            rows.append(f"+ {name}" + ("" if new is None or new.startswith("#") else f" {new}"))
        elif new is None:
            rows.append(f"- {name}")
        else:
            rows.append(name if new.startswith("#") else f"{name} {old} → {new}")
    return tuple(rows)

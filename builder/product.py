"""What making a project came to, as one value: where building ends and publishing begins.

It can come from another process, in which foreign code has run: `parse` believes nothing that it can check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from builder.plan import UNBUILT, Artifact, Component, ComponentPlan, Kind
from builder.project import Outline

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_ID = re.compile(r"([0-9a-f]{40})?")
_PART = re.compile(r"[A-Za-z0-9._-]{1,200}")
_MAX_TEXT = 10_000
_MAX_COUNT = 1 << 48


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found out of finished artifacts. `tried`: the handler was imported; else `why` not."""

    tried: bool
    why: str
    native_files: int
    warnings: tuple[str, ...] = ()
    reused: bool = False

    def as_json(self) -> dict[str, object]:
        """For the reply and the store."""
        return {"tried": self.tried, "why": self.why, "native_files": self.native_files, "reused": self.reused}


NOT_CHECKED = Checked(tried=False, why="not asked for", native_files=0)


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """The source has a tree with which nothing is left to do."""

    commit: str
    ref: str


@dataclass(frozen=True, kw_only=True)
class Product:
    """A project with what was decided for each chosen component, and the artifacts by component.

    Args:
        commit, ref: of the source; `ref` is the commit again where it has no name.
        tree: id of the tree that all of it depends on.
        distributions: of the lock, [{name, version, index}]; the index is None where the project has it itself.
        lock_id: the name under which `pinned/` in the store has the lock, None if there is none.
    """

    outline: Outline
    commit: str
    ref: str
    tree: str
    plans: tuple[ComponentPlan, ...]
    artifacts: Mapping[str, Artifact]
    checked: Checked
    lock_id: str | None
    distributions: tuple[Mapping[str, str | None], ...] = ()

    def as_json(self) -> dict[str, object]:
        """For another process."""
        return {
            "outline": self.outline.as_json(),
            "commit": self.commit,
            "ref": self.ref,
            "tree": self.tree,
            "plans": [
                {
                    "name": plan.component.name,
                    "kind": plan.component.kind,
                    "key": plan.component.key,
                    "action": plan.action,
                    "why": plan.why,
                    "changed": list(plan.changed),
                }
                for plan in self.plans
            ],
            "artifacts": {name: artifact.as_json() for name, artifact in self.artifacts.items()},
            "checked": self.checked.as_json(),
            "lock_id": self.lock_id,
            "distributions": [dict(row) for row in self.distributions],
        }

    @classmethod
    def parse(cls, value: Mapping[str, object]) -> Product:
        """What `as_json` has made.

        Raises:
            InvalidBuildFile: the build file in it is not valid.
            KeyError, TypeError, ValueError: it has another form, or names what is no component of that build file.
        """
        outline = Outline.parse(cast("Mapping[str, object]", value["outline"]))
        artifacts = {
            str(name): artifact_of(row)
            for name, row in cast("Mapping[str, Mapping[str, object]]", value["artifacts"]).items()
        }
        plans = tuple(_plan(row, artifacts) for row in cast("list[Mapping[str, object]]", value["plans"]))
        named = [plan.component.name for plan in plans]
        if set(named) != set(artifacts) or len(set(named)) != len(named) or not set(named) <= set(outline.names):
            raise ValueError("components and artifacts do not belong together")
        checked = cast("Mapping[str, object]", value["checked"])
        lock_id = value["lock_id"]
        return cls(
            outline=outline,
            commit=_git_id(value["commit"]),
            ref=text(value["ref"]),
            tree=_git_id(value["tree"]),
            plans=plans,
            artifacts=artifacts,
            checked=Checked(
                tried=checked["tried"] is True,
                why=text(checked["why"]),
                native_files=_count(checked["native_files"]),
                reused=checked["reused"] is True,
            ),
            lock_id=None if lock_id is None else _sha256(lock_id),
            distributions=tuple(
                {name: None if row[name] is None else text(row[name]) for name in ("name", "version", "index")}
                for row in cast("list[Mapping[str, object]]", value["distributions"])
            ),
        )


def _plan(row: Mapping[str, object], artifacts: Mapping[str, Artifact]) -> ComponentPlan:
    name, kind, action = text(row["name"]), text(row["kind"]), text(row["action"])
    if kind not in ("function", "dependencies", "layer") or action not in ("reuse", "build"):
        raise ValueError(f"component {name} is a {kind} to {action}")
    component = Component(
        name=name,
        kind=cast("Kind", kind),
        key=_sha256(row["key"]),
        artifact=artifacts[name] if action == "reuse" else None,
    )
    changed = tuple(map(text, cast("list[object]", row["changed"])))
    reuse = cast("Literal['reuse', 'build']", action)
    return ComponentPlan(component=component, action=reuse, why=text(row["why"]), changed=changed)


def artifact_of(kept: Mapping[str, object]) -> Artifact:
    """What `Artifact.as_json` has made.

    Raises:
        KeyError, TypeError, ValueError: it has another form.
    """
    if kept["sha256"] == "":
        return UNBUILT
    return Artifact(
        sha256=_sha256(kept["sha256"]),
        size=_count(kept["size"]),
        unzipped=_count(kept["unzipped"]),
        files=_count(kept["files"]),
        pruned=tuple(
            {"rule": text(row["rule"]), "files": _count(row["files"]), "bytes": _count(row["bytes"])}
            for row in cast("list[Mapping[str, object]]", kept["pruned"])
        ),
        contents=_texts(kept["contents"]),
        parts=tuple(map(_part, cast("list[object]", kept.get("parts", ())))),
        notes=_texts(kept.get("notes", ())),
        native_libraries=tuple(
            _library(row) for row in cast("list[Mapping[str, object]]", kept.get("native_libraries", ()))
        ),
        missing_libraries=_texts(kept.get("missing_libraries", ())),
    )


def _library(row: Mapping[str, object]) -> dict[str, object]:
    named = {name: text(row[name]) for name in ("library", "from", "sha256")}
    return {**named, "size": _count(row["size"]), "needed_by": list(_texts(row["needed_by"]))}


def text(value: object) -> str:
    """A text of reasonable length.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError("a text is missing, or too long")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(text, cast("list[object]", value)))


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is not {pattern.pattern}")
    return value


def _sha256(value: object) -> str:
    return _matching(value, _SHA256)


def _git_id(value: object) -> str:
    return _matching(value, _GIT_ID)


def _part(value: object) -> str:
    return _matching(value, _PART)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_COUNT:
        raise ValueError(f"{str(value)[:80]!r} is not a number of things")
    return value

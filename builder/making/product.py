"""The product of a build as one value: building ends with it, and publishing begins with it.

It may come from another process in which foreign code has run, so `parse` checks everything that can be checked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import InvalidEvent
from builder.making.project import Outline
from builder.plan import ACTIONS, KINDS, UNBUILT, Artifact, Component, ComponentPlan
from builder.sources.reads import Reads
from builder.spec.members import BuildFile, read_functions
from builder.store.values import SHA256, Fields, UnfitError

if TYPE_CHECKING:
    from builder.replies.deploys import Checks, DistributionRow, TakenLibrary

_GIT_ID = re.compile(r"([0-9a-f]{40})?")
_PART = re.compile(r"[A-Za-z0-9._-]{1,200}")
MAX_TEXT = 10_000


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Outcome of the checks of finished artifacts. `tried`: the handler was imported; otherwise `why` not."""

    tried: bool
    why: str
    native_files: int
    warnings: tuple[str, ...] = ()
    reused: bool = False

    def as_json(self) -> Checks:
        """Return the outcome as JSON, for the reply and the store."""
        return {"tried": self.tried, "why": self.why, "native_files": self.native_files, "reused": self.reused}

    @classmethod
    def parse(cls, kept: Fields) -> Checked:
        """Parse the output of `as_json`, without the warnings, which travel separately."""
        return cls(
            tried=kept.flag("tried"),
            why=kept.text("why", longest=MAX_TEXT),
            native_files=kept.count("native_files"),
            reused=kept.flag("reused"),
        )


NOT_CHECKED = Checked(tried=False, why="not asked for", native_files=0)


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """Result for a source whose tree is the deployed one, so that nothing is left to do."""

    commit: str
    ref: str

    @classmethod
    def parse(cls, sent: Fields) -> Unchanged:
        """Parse the output of `as_json` of another process."""
        return cls(commit=sent.text("commit", longest=MAX_TEXT), ref=sent.text("ref", longest=MAX_TEXT))


@dataclass(frozen=True, kw_only=True)
class Several:
    """The source has a build file with several functions, and none of them was asked for.

    `text` is the build file's, from which `file` was read. `same` are the functions for which nothing is left to do,
    `reads` says what the others are made of.
    """

    file: BuildFile
    text: str = field(repr=False)
    commit: str
    ref: str
    same: tuple[str, ...] = ()
    reads: Mapping[str, Reads] = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for another process."""
        return {
            "file": self.file.file,
            "text": self.text,
            "stage": self.file.stage,
            "parameters": dict(self.file.parameters),
            "commit": self.commit,
            "ref": self.ref,
            "same": list(self.same),
            "reads": {key: reads.as_json() for key, reads in self.reads.items()},
        }

    @classmethod
    def parse(cls, sent: Fields) -> Several:
        """Parse the output of `as_json`; the build file is read again.

        Raises:
            InvalidBuildFile: the build file is not valid.
            ValueError: it has another form.
        """
        text = sent.text("text")
        try:
            given = tuple(sorted(sent.fields("parameters").all_texts().items()))
            name, stage = sent.text("file", longest=MAX_TEXT), sent.text("stage")
            file = read_functions(text, file=name, stage=stage, parameters=given)
        except InvalidEvent as error:
            raise UnfitError(error.message) from error
        if not file.has_many:
            raise UnfitError("it has a single function")
        same = sent.texts("same", longest=MAX_TEXT)
        reads = {key: Reads.parse(row) for key, row in sent.fields("reads").members()}
        if not {*same, *reads} <= {*file.functions}:
            raise UnfitError("it says of functions that the build file lacks")
        commit, ref = sent.text("commit", longest=MAX_TEXT), sent.text("ref", longest=MAX_TEXT)
        return cls(file=file, text=text, commit=commit, ref=ref, same=same, reads=reads)


@dataclass(frozen=True, kw_only=True)
class Product:
    """A built project, with a plan and an artifact for each chosen component.

    Args:
        commit, ref: of the source; `ref` is the commit again if it has no name.
        tree: id of the tree on which all components depend.
        distributions: of the lock, [{name, version, index}]; the index is None for those in the project itself.
        lock_id: name of the lock below `pinned/` in the store, None if there is no lock.
    """

    outline: Outline
    commit: str
    ref: str
    tree: str
    plans: tuple[ComponentPlan, ...]
    artifacts: Mapping[str, Artifact]
    checked: Checked
    lock_id: str | None
    distributions: tuple[DistributionRow, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the product as JSON, for another process."""
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
        """Parse the output of `as_json`.

        Raises:
            InvalidBuildFile: the build file in it is not valid.
            KeyError, TypeError, ValueError: it has another form, or names a component that the build file lacks.
        """
        made = Fields(value)
        outline = Outline.parse(made.fields("outline").value)
        artifacts = {name: artifact_of(row) for name, row in made.fields("artifacts").members()}
        plans = tuple(_plan(row, artifacts) for row in made.rows("plans"))
        named = [plan.component.name for plan in plans]
        # Later code looks names up in all three, and foreign code may have written them.
        if set(named) != set(artifacts) or len(set(named)) != len(named) or not set(named) <= set(outline.names):
            raise ValueError("components and artifacts do not belong together")
        return cls(
            outline=outline,
            commit=made.text("commit", _GIT_ID),
            ref=made.text("ref", longest=MAX_TEXT),
            tree=made.text("tree", _GIT_ID),
            plans=plans,
            artifacts=artifacts,
            checked=Checked.parse(made.fields("checked")),
            lock_id=made.text_or_none("lock_id", SHA256),
            distributions=tuple(
                {
                    "name": row.text("name", longest=MAX_TEXT),
                    "version": row.text_or_none("version", longest=MAX_TEXT),
                    "index": row.text_or_none("index", longest=MAX_TEXT),
                }
                for row in made.rows("distributions")
            ),
        )


def _plan(row: Fields, artifacts: Mapping[str, Artifact]) -> ComponentPlan:
    name, kind, action = row.text("name"), row.one_of("kind", KINDS), row.one_of("action", ACTIONS)
    component = Component(
        name=name,
        kind=kind,
        key=row.text("key", SHA256),
        artifact=artifacts[name] if action == "reuse" else None,
    )
    return ComponentPlan(
        component=component,
        action=action,
        why=row.text("why", longest=MAX_TEXT),
        changed=row.texts("changed", longest=MAX_TEXT),
    )


def artifact_of(kept: Fields) -> Artifact:
    """Parse the output of `Artifact.as_json`.

    Raises:
        UnfitError: it has another form.
    """
    if kept.text("sha256") == "":
        return UNBUILT
    contents, parts = kept.texts("contents", longest=MAX_TEXT), kept.texts("parts", _PART)
    if parts and len(parts) != len(contents):
        raise UnfitError("parts are not as many as contents")
    return Artifact(
        sha256=kept.text("sha256", SHA256),
        size=kept.count("size"),
        unzipped=kept.count("unzipped"),
        files=kept.count("files"),
        pruned=tuple(
            {"rule": row.text("rule", longest=MAX_TEXT), "files": row.count("files"), "bytes": row.count("bytes")}
            for row in kept.rows("pruned")
        ),
        contents=contents,
        parts=parts,
        notes=kept.texts("notes", longest=MAX_TEXT),
        native_libraries=tuple(map(_library, kept.rows("native_libraries"))),
        missing_libraries=kept.texts("missing_libraries", longest=MAX_TEXT),
    )


def _library(row: Fields) -> TakenLibrary:
    return {
        "library": row.text("library", longest=MAX_TEXT),
        "from": row.text("from", longest=MAX_TEXT),
        "sha256": row.text("sha256", longest=MAX_TEXT),
        "size": row.count("size"),
        "needed_by": list(row.texts("needed_by", longest=MAX_TEXT)),
    }


def lock_hash(lock: str) -> str:
    """Return the name of the lock below `pinned/` in the store."""
    return hashlib.sha256(lock.encode()).hexdigest()


def pinned_lock(kept: Fields, *, lock_id: str) -> str:
    """Parse the lock of this id below `pinned/`, and compare it with the id, which is its hash."""
    lock = kept.text("lock")
    if lock_hash(lock) != lock_id:
        raise UnfitError("is another lock")
    return lock

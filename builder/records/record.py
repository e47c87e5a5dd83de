"""Records of ended builds as values: what was requested, how it ended, and all it takes to deploy the same again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from builder.event.request import Action, GitSource, ManifestSource, ObjectSource
from builder.runtimes import MACHINES, RUNTIMES
from builder.store.values import SHA256, Fields, UnfitError

if TYPE_CHECKING:
    from builder.replies.accounts import Ended, HistoryRow, RecentRow, RecordedAction

_ARCHITECTURE = re.compile("|".join(MACHINES))
_CODE = re.compile(r"([0-9a-f]{64})?")
# What leaves records.
RECORDED: Mapping[Action, RecordedAction] = {
    Action.BUILD: "build",
    Action.ROLLBACK: "rollback",
    Action.PACKAGE: "package",
}
_ENDED: tuple[Ended, ...] = ("succeeded", "failed")


def history_of(function: str) -> str:
    """Return the folder of the store with the records of a function, the newest first by name."""
    return f"records/{function}"


def project_history(project: str, stage: str) -> str:
    """Return the folder with the records of a project that has several functions."""
    return f"projects/{project_at(project, stage)}"


def project_at(project: str, stage: str) -> str:
    """Return what tells a project at a stage from a function, and from a project, that has the same name."""
    return f"{project}@{stage}" if stage else project


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A layer as a build attached it; `sha256` is None if the build file does not make it."""

    component: str
    layer: str
    arn: str | None
    sha256: str | None
    description: str
    license: str
    runtimes: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the record."""
        return asdict(self) | {"runtimes": list(self.runtimes)}

    @classmethod
    def parse(cls, kept: Fields) -> LayerRow:
        """Parse the output of `as_json`."""
        return cls(
            component=kept.text("component"),
            layer=kept.text("layer"),
            arn=kept.text_or_none("arn"),
            sha256=kept.text_or_none("sha256", SHA256),
            description=kept.text("description"),
            license=kept.text("license"),
            runtimes=kept.texts("runtimes"),
        )


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """The source of a build, which can be fetched again, the project's place in it, and what of it was built.

    `key` is the function's in a build file that has several, `stage` the build file's.
    """

    source: GitSource | ObjectSource | ManifestSource
    path: str
    build_file: str | None
    key: str = ""
    stage: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the record: the fields of the source beside the others."""
        # `key` is also where an archive is in its bucket.
        place = {"path": self.path, "build_file": self.build_file, "member": self.key, "stage": self.stage}
        return asdict(self.source) | place

    @classmethod
    def parse(cls, kept: Fields) -> SourceRecord:
        """Parse the output of `as_json`."""
        source: GitSource | ObjectSource | ManifestSource
        if "manifest" in kept:
            source = ManifestSource(
                bucket=kept.text("bucket"),
                manifest=kept.text("manifest"),
                version_id=kept.text_or_none("version_id"),
                sha256=kept.text_or_none("sha256", SHA256),
            )
        elif "bucket" in kept:
            source = ObjectSource(
                bucket=kept.text("bucket"), key=kept.text("key"), version_id=kept.text_or_none("version_id")
            )
        else:
            source = GitSource(
                repo=kept.text_or_none("repo"),
                repo_name=kept.text_or_none("repo_name"),
                ref=kept.text_or_none("ref"),
            )
        return cls(
            source=source,
            path=kept.text("path"),
            build_file=kept.text_or_none("build_file"),
            key=kept.text("member") if "member" in kept else "",
            stage=kept.text("stage") if "stage" in kept else "",
        )


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The repository and commit of a deploy, and the full names of the refs that had the commit as their tip."""

    url: str
    commit: str
    refs: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the record."""
        return {"url": self.url, "commit": self.commit, "refs": list(self.refs)}

    @classmethod
    def parse(cls, kept: Fields) -> Origin:
        """Parse the output of `as_json`."""
        return cls(url=kept.text("url"), commit=kept.text("commit"), refs=kept.texts("refs"))


@dataclass(frozen=True, kw_only=True)
class DeploymentRecord:
    """The result of a deploy: all it takes to deploy the same again.

    `code` is the sha256 of the function's zip, empty where there is none; `source` is None where it is not kept,
    `origin` where it was no repository.
    """

    architecture: str
    runtime: str
    code: str
    layers: tuple[LayerRow, ...]
    settings: Mapping[str, object]
    tags: Mapping[str, str]
    extras: Mapping[str, object]
    role: str | None
    version: str | None
    alias: str | None
    lock: str | None
    source: SourceRecord | None
    origin: Origin | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the record of the build."""
        return {
            "architecture": self.architecture,
            "runtime": self.runtime,
            "code": {"sha256": self.code},
            "layers": [row.as_json() for row in self.layers],
            "settings": dict(self.settings),
            "tags": dict(self.tags),
            "extras": dict(self.extras),
            "role": self.role,
            "version": self.version,
            "alias": self.alias,
            "lock": self.lock,
            "source": self.source and self.source.as_json(),
            "origin": self.origin and self.origin.as_json(),
        }

    @classmethod
    def parse(cls, kept: Fields) -> DeploymentRecord:
        """Parse the output of `as_json`."""
        source = kept.fields_or_none("source")
        origin = kept.fields("origin") if "origin" in kept else None  # the first records had none
        return cls(
            architecture=kept.text("architecture", _ARCHITECTURE),
            runtime=_runtime(kept.text("runtime")),
            code=kept.fields("code").text("sha256", _CODE),
            layers=tuple(map(LayerRow.parse, kept.rows("layers"))),
            settings=kept.fields("settings").value,
            tags=kept.fields("tags").all_texts(),
            extras=kept.fields("extras").value,
            role=kept.text_or_none("role"),
            version=kept.text_or_none("version"),
            alias=kept.text_or_none("alias"),
            lock=kept.text_or_none("lock", SHA256),
            source=SourceRecord.parse(source) if source else None,
            origin=Origin.parse(origin) if origin else None,
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """The account of one build. Times are texts, `seconds` its duration, `sizes` those of zips by component.

    `group` is the project that the function is one of several of, `stage` the build file's, both empty for none.
    """

    build_id: str
    action: RecordedAction
    state: Ended
    seconds: float
    started: str
    ended: str
    function: str | None
    by: str | None
    repo: str | None
    path: str
    ref: str | None
    commit: str | None
    alias: str | None
    version: str | None
    builder: str
    changed: tuple[str, ...]
    sizes: Mapping[str, int]
    error: str | None
    message: str | None
    restored: str | None
    reply: Mapping[str, object]
    deployment: DeploymentRecord | None
    group: str = ""
    stage: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the function's history in the store."""
        return {
            **self.for_people(),
            "group": self.group,
            "stage": self.stage,
            "reply": dict(self.reply),
            "deployment": self.deployment and self.deployment.as_json(),
        }

    @classmethod
    def parse(cls, kept: Fields) -> Record:
        """Parse the output of `as_json`."""
        deployment, sizes = kept.fields_or_none("deployment"), kept.fields("sizes")
        _seconds(kept.text("ended"))
        return cls(
            build_id=kept.text("build_id"),
            action=kept.one_of("action", RECORDED.values()),
            state=kept.one_of("state", _ENDED),
            seconds=kept.number("seconds"),
            started=kept.text("started"),
            ended=kept.text("ended"),
            function=kept.text_or_none("function"),
            by=kept.text_or_none("by"),
            repo=kept.text_or_none("repo"),
            path=kept.text("path"),
            ref=kept.text_or_none("ref"),
            commit=kept.text_or_none("commit"),
            alias=kept.text_or_none("alias"),
            version=kept.text_or_none("version"),
            builder=kept.text("builder"),
            changed=kept.texts("changed"),
            sizes={name: sizes.count(name) for name in sizes.value},
            error=kept.text_or_none("error"),
            message=kept.text_or_none("message"),
            restored=kept.text_or_none("restored"),
            reply=kept.fields("reply").value,
            deployment=DeploymentRecord.parse(deployment) if deployment else None,
            # Records of builders before 0.2 have neither.
            group=kept.text("group") if "group" in kept else "",
            stage=kept.text("stage") if "stage" in kept else "",
        )

    @property
    def deployed(self) -> DeploymentRecord | None:
        """What the build left in the account, if it succeeded."""
        return self.deployment if self.state == "succeeded" else None

    @property
    def ended_s(self) -> float:
        """Time of its end, in seconds since 1970."""
        return _seconds(self.ended)

    def for_people(self) -> HistoryRow:
        """Return it without its reply, and without what it takes to deploy the same again."""
        return {
            "action": self.action,
            "alias": self.alias,
            "build_id": self.build_id,
            "builder": self.builder,
            "by": self.by,
            "changed": list(self.changed),
            "commit": self.commit,
            "ended": self.ended,
            "error": self.error,
            "function": self.function,
            "message": self.message,
            "path": self.path,
            "ref": self.ref,
            "repo": self.repo,
            "restored": self.restored,
            "seconds": self.seconds,
            "sizes": dict(self.sizes),
            "started": self.started,
            "state": self.state,
            "version": self.version,
        }

    def short(self) -> RecentRow:
        """Return a line of the list of builds."""
        return {
            "build_id": self.build_id,
            "function": self.function,
            "state": self.state,
            "seconds": self.seconds,
            "ended": self.ended,
            "by": self.by,
            "ref": self.ref,
            "commit": self.commit,
            "error": self.error,
        }


def read_short(kept: Fields) -> RecentRow:
    """Parse the output of `Record.short`."""
    return {
        "build_id": kept.text("build_id"),
        "function": kept.text_or_none("function"),
        "state": kept.text("state"),
        "seconds": kept.number("seconds"),
        "ended": kept.text("ended"),
        "by": kept.text_or_none("by"),
        "ref": kept.text_or_none("ref") if "ref" in kept else None,
        "commit": kept.text_or_none("commit"),
        "error": kept.text_or_none("error"),
    }


def _runtime(name: str) -> str:
    if name not in RUNTIMES:
        raise UnfitError(f"runtime is {name[:80]!r}, which this builder does not know")
    return name


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise UnfitError(f"ended is {text[:80]!r}, which is no time") from error

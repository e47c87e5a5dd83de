"""Records of ended builds as values: what was asked for, how it ended, and all it takes to deploy the same again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from builder.event.request import GitSource, ManifestSource, ObjectSource
from builder.runtimes import MACHINES, RUNTIMES
from builder.store.values import SHA256, Fields, UnfitError

# Of a record, what the list of builds leaves out.
_LONG = frozenset({"reply", "deployment"})
_SHORT = ("build_id", "function", "state", "seconds", "ended", "by", "commit", "error")
_ARCHITECTURE = re.compile("|".join(MACHINES))
_CODE = re.compile(r"([0-9a-f]{64})?")


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A layer as a build attached it; `sha256` is None where it is not of the build file's making."""

    component: str
    layer: str
    arn: str | None
    sha256: str | None
    description: str
    license: str
    runtimes: tuple[str, ...]

    @classmethod
    def parse(cls, kept: Fields) -> LayerRow:
        """One of `Deployment.as_json`'s."""
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
    """What a build was made of: a source that can be fetched again, and where the project is in it."""

    source: GitSource | ObjectSource | ManifestSource
    path: str
    build_file: str | None

    @classmethod
    def parse(cls, kept: Fields) -> SourceRecord:
        """The fields of the source beside the other two."""
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
            source = GitSource(repo=kept.text_or_none("repo"), repo_name=kept.text_or_none("repo_name"))
        return cls(source=source, path=kept.text("path"), build_file=kept.text_or_none("build_file"))


@dataclass(frozen=True, kw_only=True)
class DeploymentRecord:
    """What a build deployed, as `publishing.deployment.Deployment.as_json` has written it, which is `value`.

    `code` is the sha256 of the function's zip, empty where there is none; `source` is None where it is not kept.
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
    value: Mapping[str, object]

    @classmethod
    def parse(cls, kept: Fields) -> DeploymentRecord:
        """What was written."""
        source = kept.fields_or_none("source")
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
            value=kept.value,
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """The account of one build. `ended` is in seconds since 1970, `value` all that was written."""

    build_id: str
    action: str
    state: str
    ended: float
    commit: str | None
    ref: str | None
    alias: str | None
    builder: str
    message: str | None
    restored: str | None
    deployment: DeploymentRecord | None
    value: Mapping[str, object]

    @classmethod
    def parse(cls, kept: Fields) -> Record:
        """What `Builds.end` has written."""
        deployment = kept.fields_or_none("deployment")
        return cls(
            build_id=kept.text("build_id"),
            action=kept.text("action"),
            state=kept.text("state"),
            ended=_seconds(kept.text("ended")),
            commit=kept.text_or_none("commit"),
            ref=kept.text_or_none("ref"),
            alias=kept.text_or_none("alias"),
            builder=kept.text("builder"),
            message=kept.text_or_none("message"),
            restored=kept.text_or_none("restored"),
            deployment=DeploymentRecord.parse(deployment) if deployment else None,
            value=kept.value,
        )

    @property
    def deployed(self) -> DeploymentRecord | None:
        """What the build left in the account, if it ended well."""
        return self.deployment if self.state == "succeeded" else None

    def for_people(self) -> dict[str, object]:
        """Without its reply, and what it takes to deploy the same again."""
        return {name: item for name, item in self.value.items() if name not in _LONG}

    def short(self) -> dict[str, object]:
        """A line of the list of builds."""
        return short(self.value)


def short(value: Mapping[str, object]) -> dict[str, object]:
    """A line of the list of builds, of a record as it is written."""
    return {name: value[name] for name in _SHORT}


def read_short(kept: Fields) -> dict[str, object]:
    """What `short` gave."""
    for name in ("build_id", "state", "ended"):
        kept.text(name)
    return {name: kept.value.get(name) for name in _SHORT}


def _runtime(name: str) -> str:
    if name not in RUNTIMES:
        raise UnfitError(f"runtime is {name[:80]!r}, which this builder does not know")
    return name


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise UnfitError(f"ended is {text[:80]!r}, which is no time") from error

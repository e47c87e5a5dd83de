"""An order: what to build of which source, as one value with everything that building needs to know of a request.

It can be sent to another process as JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.event.request import ArchiveSource, ManifestSource, ObjectSource
from builder.runtimes import Architecture, architecture_of
from builder.sources.reads import Reads
from builder.sources.snapshot import Resolved
from builder.store.values import Fields
from builder.trust.roles import Roles
from builder.workspace.domains import Domain

if TYPE_CHECKING:  # it has pydantic, which a deploy with nothing to do never needs
    from builder.spec.values import Parameters

Source = Resolved | ArchiveSource | ObjectSource | ManifestSource


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A demand to build everything without results of earlier builds, from a lock if there is one."""

    runtime: str
    architecture: Architecture
    lock: str | None

    @classmethod
    def parse(cls, sent: Fields) -> Fresh:
        """Parse the member that `Order.as_json` writes."""
        return cls(
            runtime=sent.text("runtime"),
            architecture=architecture_of(sent.text("architecture")),
            lock=sent.text_or_none("lock"),
        )


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order to make the components of a project.

    Args:
        source: a commit, or where an archive is.
        domain: whose code it is.
        function: its name.
        path, build_file, components, architecture, force, upgrade, stage, parameters: as in the request.
        key: the function that is meant, of a build file that has several; empty where that is not known yet.
        shared: other orders will be of the same source.
        dry: build nothing, only say what would be built.
        exists: whether the function does; one that does not needs all of its components.
        otherwise: the architecture where neither request nor build file says one.
        foreign: ARNs of layers of others that are attached to the function besides those of the build file.
        known: ids of trees with which nothing is left to do.
        standing: what the project's functions were made of that are in Lambda as its last deploy left them, by key;
            only where no key is given.
        keys: keys of the components of the last deploy.
        fresh: set where what was deployed is verified.
        variables: of the function as it is now, for the trial of its handler. They may be secrets, so `as_json` leaves
            them out: they travel with what is granted.
        roles: what decides on the role of the function; None where none is created or changed.
    """

    source: Source
    domain: Domain
    function: str
    key: str = ""
    stage: str = ""
    parameters: Parameters = ()
    shared: bool = False
    path: str = ""
    build_file: str | None = None
    components: tuple[str, ...] = ()
    architecture: Architecture | None = None
    force: bool = False
    upgrade: bool = False
    dry: bool = False
    exists: bool = True
    otherwise: Architecture = "x86_64"
    foreign: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    standing: Mapping[str, Reads] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    fresh: Fresh | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    roles: Roles | None = None

    @property
    def resolved(self) -> Resolved | None:
        """Commit to build, None for an archive."""
        return self.source if isinstance(self.source, Resolved) else None

    @property
    def repository(self) -> str:
        """URL of the project's repository, "" if it has none."""
        return self.source.url if isinstance(self.source, Resolved) else ""

    def as_json(self) -> dict[str, object]:
        """Return the order as JSON, for another process."""
        fresh = self.fresh
        return {
            "source": _source_json(self.source),
            "domain": {"name": self.domain.name, "keeps": self.domain.keeps, "vouched": self.domain.vouched},
            "function": self.function,
            "key": self.key,
            "stage": self.stage,
            "parameters": dict(self.parameters),
            "path": self.path,
            "build_file": self.build_file,
            "components": list(self.components),
            "architecture": self.architecture,
            "force": self.force,
            "upgrade": self.upgrade,
            "dry": self.dry,
            "exists": self.exists,
            "otherwise": self.otherwise,
            "foreign": list(self.foreign),
            "known": list(self.known),
            "standing": {key: reads.as_json() for key, reads in self.standing.items()},
            "keys": dict(self.keys),
            "roles": self.roles and self.roles.as_json(),
            "fresh": fresh and {"runtime": fresh.runtime, "architecture": fresh.architecture, "lock": fresh.lock},
        }

    @classmethod
    def parse(cls, sent: Fields) -> Order:
        """Parse the output of `as_json`.

        Raises:
            ValueError: it has another form.
        """
        domain, fresh, roles = sent.fields("domain"), sent.fields_or_none("fresh"), sent.fields_or_none("roles")
        architecture = sent.text_or_none("architecture")
        return cls(
            source=_source(sent.fields("source")),
            domain=Domain(name=domain.text("name"), keeps=domain.flag("keeps"), vouched=domain.flag("vouched")),
            function=sent.text("function"),
            key=sent.text("key"),
            stage=sent.text("stage"),
            parameters=tuple(sorted(sent.fields("parameters").all_texts().items())),
            path=sent.text("path"),
            build_file=sent.text_or_none("build_file"),
            components=sent.texts("components"),
            architecture=architecture_of(architecture) if architecture else None,
            force=sent.flag("force"),
            upgrade=sent.flag("upgrade"),
            dry=sent.flag("dry"),
            exists=sent.flag("exists"),
            otherwise=architecture_of(sent.text("otherwise")),
            foreign=sent.texts("foreign"),
            known=sent.texts("known"),
            standing={key: Reads.parse(row) for key, row in sent.fields("standing").members()},
            keys=sent.fields("keys").all_texts(),
            roles=Roles.parse(roles) if roles else None,
            fresh=Fresh.parse(fresh) if fresh else None,
        )


def _source_json(source: Source) -> dict[str, object]:
    match source:
        case Resolved():
            return {"url": source.url, "ref": source.ref, "commit": source.commit}
        case ArchiveSource():
            return {"archive": base64.b64encode(source.content).decode()}
        case ObjectSource():
            return {"bucket": source.bucket, "key": source.key, "version_id": source.version_id}
        case ManifestSource():
            return {
                "bucket": source.bucket,
                "manifest": source.manifest,
                "version_id": source.version_id,
                "sha256": source.sha256,
            }


def _source(sent: Fields) -> Source:
    if "url" in sent:
        return Resolved(url=sent.text("url"), ref=sent.text("ref"), commit=sent.text("commit"))
    if "archive" in sent:
        return ArchiveSource(content=base64.b64decode(sent.text("archive"), validate=True))
    bucket, version_id = sent.text("bucket"), sent.text_or_none("version_id")
    if "manifest" in sent:
        return ManifestSource(
            bucket=bucket,
            manifest=sent.text("manifest"),
            version_id=version_id,
            sha256=sent.text_or_none("sha256"),
        )
    return ObjectSource(bucket=bucket, key=sent.text("key"), version_id=version_id)

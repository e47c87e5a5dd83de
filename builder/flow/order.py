"""What is to be made of which source: all that making needs to know of a request, as one value.

It can travel to another process: `as_json` and `parse`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from builder.event.request import ArchiveSource, ManifestSource, ObjectSource
from builder.runtimes import Architecture, architecture_of
from builder.sources.snapshot import Resolved
from builder.trust.roles import Roles
from builder.workspace.domains import Domain

Source = Resolved | ArchiveSource | ObjectSource | ManifestSource


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """Make everything without what earlier builds have left, of a lock if there is one."""

    runtime: str
    architecture: Architecture
    lock: str | None


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order to make the components of a project.

    Args:
        source: a commit, or where an archive is.
        domain: whose code it is.
        function: its name. path, build_file, components, architecture, force, upgrade: as in the request.
        dry: build nothing, only say what would be built.
        exists: whether the function does; one that does not needs all of its components.
        otherwise: the architecture where neither request nor build file says one.
        foreign: ARNs of layers of others that are attached to the function besides those of the build file.
        known: ids of trees with which nothing is left to do.
        keys: keys of the components of the last deploy.
        fresh: set where what was deployed is verified.
        variables: of the function as it is now, for the trial of its handler. They may be secrets, so `as_json` leaves
            them out: they travel with what is granted.
        roles: what decides on the role of the function; None where none is created or changed.
    """

    source: Source
    domain: Domain
    function: str
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
    keys: Mapping[str, str] = field(default_factory=dict)
    fresh: Fresh | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    roles: Roles | None = None

    @property
    def resolved(self) -> Resolved | None:
        """The commit, None for an archive."""
        return self.source if isinstance(self.source, Resolved) else None

    @property
    def repository(self) -> str:
        """The URL that the project comes from, "" if it comes from none."""
        return self.source.url if isinstance(self.source, Resolved) else ""

    def as_json(self) -> dict[str, object]:
        """For another process."""
        fresh = self.fresh
        return {
            "source": _source_json(self.source),
            "domain": {"name": self.domain.name, "keeps": self.domain.keeps, "vouched": self.domain.vouched},
            "function": self.function,
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
            "keys": dict(self.keys),
            "roles": self.roles and self.roles.as_json(),
            "fresh": fresh and {"runtime": fresh.runtime, "architecture": fresh.architecture, "lock": fresh.lock},
        }

    @classmethod
    def parse(cls, value: Mapping[str, object]) -> Order:
        """What `as_json` has made.

        Raises:
            KeyError, TypeError, ValueError: somebody else has made it.
        """
        given = cast("Mapping[str, str | None]", value)
        domain = cast("Mapping[str, object]", value["domain"])
        fresh = cast("Mapping[str, str | None] | None", value["fresh"])
        roles = cast("Mapping[str, object] | None", value["roles"])
        return cls(
            source=_source(cast("Mapping[str, str]", value["source"])),
            domain=Domain(name=str(domain["name"]), keeps=domain["keeps"] is True, vouched=domain["vouched"] is True),
            function=str(given["function"]),
            path=str(given["path"]),
            build_file=given["build_file"],
            components=_texts(value["components"]),
            architecture=architecture_of(given["architecture"]) if given["architecture"] else None,
            force=value["force"] is True,
            upgrade=value["upgrade"] is True,
            dry=value["dry"] is True,
            exists=value["exists"] is True,
            otherwise=architecture_of(str(given["otherwise"])),
            foreign=_texts(value["foreign"]),
            known=_texts(value["known"]),
            keys={str(name): str(key) for name, key in cast("Mapping[str, object]", value["keys"]).items()},
            roles=Roles.parse(roles) if roles else None,
            fresh=Fresh(
                runtime=str(fresh["runtime"]),
                architecture=architecture_of(str(fresh["architecture"])),
                lock=fresh["lock"],
            )
            if fresh
            else None,
        )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, cast("list[object]", value)))


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


def _source(given: Mapping[str, str]) -> Source:
    if "url" in given:
        return Resolved(url=given["url"], ref=given["ref"], commit=given["commit"])
    if "archive" in given:
        return ArchiveSource(content=base64.b64decode(given["archive"], validate=True))
    if "manifest" in given:
        return ManifestSource(
            bucket=given["bucket"],
            manifest=given["manifest"],
            version_id=given["version_id"],
            sha256=given["sha256"],
        )
    return ObjectSource(bucket=given["bucket"], key=given["key"], version_id=given["version_id"])

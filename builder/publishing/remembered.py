"""What a project's functions were when it was last deployed as a whole, so that the next deploy can skip them.

`projects/PROJECT.json` in the store, or `projects/PROJECT@STAGE.json`. It is never needed: without it, every function
is looked at and compared again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder import __version__
from builder.records.record import project_at
from builder.sources.reads import Reads
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.store.s3 import S3Store


@dataclass(frozen=True, kw_only=True)
class Row:
    """One function as a deploy left it.

    `revision_id` is Lambda's id of its state then, `commit` the source that it is equal to, `build_id` the build that
    deployed it.
    """

    revision_id: str
    commit: str
    reads: Reads
    arn: str
    build_id: str | None


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A project's last deploy.

    `key` identifies the request and the builder's configuration, `names` are Lambda's names of its functions by those
    of the build file. `rows` has those functions of which their revision tells all: settings that have calls of their
    own, and aliases, are looked at each time.
    """

    key: str
    commit: str
    names: Mapping[str, str]
    rows: Mapping[str, Row] = field(default_factory=dict)


def read(store: S3Store, project: str, stage: str) -> Remembered | None:
    """Return the record of the project's last deploy; None for a record of another version of the builder."""
    return store.find(_name(project, stage), _parse)


def keep(store: S3Store, project: str, stage: str, deploy: Remembered) -> None:
    """Record a deploy of all functions of a project."""
    rows = {
        key: {
            "revision_id": row.revision_id,
            "commit": row.commit,
            "reads": row.reads.as_json(),
            "arn": row.arn,
            "build_id": row.build_id,
        }
        for key, row in deploy.rows.items()
    }
    value = {
        "builder": __version__,
        "key": deploy.key,
        "commit": deploy.commit,
        # In the order of the build file, which the members of an object do not keep.
        "names": [{"key": key, "name": name} for key, name in deploy.names.items()],
        "rows": rows,
    }
    store.write_json(_name(project, stage), value)


def _parse(kept: Fields) -> Remembered | None:
    if kept.text("builder") != __version__:
        return None
    return Remembered(
        key=kept.text("key"),
        commit=kept.text("commit"),
        names={row.text("key"): row.text("name") for row in kept.rows("names")},
        rows={key: _row(row) for key, row in kept.fields("rows").members()},
    )


def _row(kept: Fields) -> Row:
    return Row(
        revision_id=kept.text("revision_id"),
        commit=kept.text("commit"),
        reads=Reads.parse(kept.fields("reads")),
        arn=kept.text("arn"),
        build_id=kept.text_or_none("build_id"),
    )


def _name(project: str, stage: str) -> str:
    return f"projects/{project_at(project, stage)}.json"

"""Which functions a project had when it was last deployed as a whole, by which the next deploy need not fetch it.

`projects/PROJECT.json` in the store, or `projects/PROJECT@STAGE.json`. It is never needed: without it, the build file
is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder import __version__
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.store.s3 import S3Store


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A project's last deploy.

    `key` identifies the request and the builder's configuration, `names` are Lambda's names of its functions by those
    of the build file.
    """

    key: str
    commit: str
    names: Mapping[str, str]


def read(store: S3Store, project: str, stage: str) -> Remembered | None:
    """Return the record of the project's last deploy; None for a record of another version of the builder."""
    return store.find(_name(project, stage), _parse)


def keep(store: S3Store, project: str, stage: str, *, key: str, commit: str, names: Mapping[str, str]) -> None:
    """Record a deploy of all functions of a project."""
    value = {"builder": __version__, "key": key, "commit": commit, "names": dict(names)}
    store.write_json(_name(project, stage), value)


def _parse(kept: Fields) -> Remembered | None:
    if kept.text("builder") != __version__:
        return None
    return Remembered(key=kept.text("key"), commit=kept.text("commit"), names=kept.fields("names").all_texts())


def _name(project: str, stage: str) -> str:
    # A project may be called like another one at a stage.
    return f"projects/{project}{'@' if stage else ''}{stage}.json"

"""The SDK that Lambda's Python runtimes bring along: whether a function can do without its own copy.

Which versions a runtime has is a matter of record (`runtime_packages.json`, each with its source), never of guessing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Taken from the runtime together or not at all: AWS tells to ship the SDK with all that it needs or nothing of it.
SDK = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "urllib3", "python-dateutil", "six"})
_DATA = Path(__file__).with_name("runtime_packages.json")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """`requirement` in PEP 508's words, asked for by `by`."""

    requirement: str
    by: str


@functools.cache
def known_versions(runtime: str) -> Mapping[str, str]:
    """Name → version of what is known to be in the runtime; empty if nothing is."""
    records: dict[str, dict[str, dict[str, str]]] = json.loads(_DATA.read_text())
    return records[runtime]["versions"] if runtime in records else {}


def why_shipped(runtime: str, locked: Mapping[str, str], demands: Iterable[Demand]) -> str | None:
    """Why the locked SDK packages must be shipped; None if the runtime's own serve everybody.

    The runtime's set fits together by itself. So a package whose version there is not known can be left out as long as
    nobody outside the set asks for it.

    Args:
        locked: name → version of the SDK packages of the lock.
        demands: of the project, and of every distribution that is shipped.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    versions = known_versions(runtime)
    if not versions:
        return f"which versions {runtime} has is not known"
    for demand in demands:
        try:
            wanted = Requirement(demand.requirement)
        except InvalidRequirement:
            return f"{demand.by} asks for {demand.requirement!r}, which cannot be read"
        name = canonicalize_name(wanted.name)
        if name not in locked:
            continue
        if name not in versions:
            return f"{demand.by} needs {wanted}, and which {name} {runtime} has is not known"
        if wanted.extras or wanted.url or not wanted.specifier.contains(versions[name], prereleases=True):
            return f"{demand.by} needs {wanted}, and {runtime} has {name} {versions[name]}"
    return None

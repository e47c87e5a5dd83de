"""The SDK in Lambda's Python runtimes: whether a function needs its own copy.

The versions in a runtime are recorded (`runtime_packages.json`, each with its source), never guessed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# All from the runtime or none: AWS advises to ship the SDK with all its dependencies, or nothing of it.
SDK = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "urllib3", "python-dateutil", "six"})
_DATA = Path(__file__).with_name("runtime_packages.json")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Requirement in PEP 508's syntax, from `by`."""

    requirement: str
    by: str


@functools.cache
def known_versions(runtime: str) -> Mapping[str, str]:
    """Return the versions of the runtime's known packages by name, empty for an unknown runtime."""
    records: dict[str, dict[str, dict[str, str]]] = json.loads(_DATA.read_text())
    return records[runtime]["versions"] if runtime in records else {}


def why_shipped(runtime: str, locked: Mapping[str, str], demands: Iterable[Demand]) -> str | None:
    """Return why the locked SDK packages must be shipped; None if the runtime's own satisfy all demands.

    The runtime's set is consistent. So a package with an unknown version there can be left out if nothing outside of
    the set requires it.

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

"""Finds out which commits of a repository are its owners' own: the tips of branches and tags. Pure.

A forge hands out more than its owners have accepted, by name and by id: pull and merge requests
(refs/pull/7/head, refs/merge-requests/7/head, refs/changes/…), and GitHub even every commit of every fork.
"""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.secrets.logins import ProjectRule
    from builder.sources.snapshot import Resolved

BRANCHES, TAGS = "refs/heads/", "refs/tags/"


def is_allowed(ref: str, patterns: Collection[str]) -> bool:
    """Tell whether the full name `ref` matches `patterns`, of branches (`release/*`) or full names (`refs/tags/v*`).

    Without patterns all branches and tags are allowed. Other refs never are, whatever a pattern says.
    """
    # Only people with write access move branches and tags; anyone can make refs/pull/….
    if not ref.startswith((BRANCHES, TAGS)):
        return False
    full = (pattern if pattern.startswith("refs/") else BRANCHES + pattern for pattern in patterns)
    return not patterns or any(fnmatchcase(ref, pattern) for pattern in full)


def pattern_problem(pattern: str) -> str | None:
    """Say what is wrong with a pattern of refs; None if nothing is."""
    if pattern.startswith("refs/") and not pattern.startswith((BRANCHES, TAGS)):
        return "covers what anyone may propose; only refs/heads/… and refs/tags/… can be trusted"
    return None


def trusted(resolved: Resolved | None, rule: ProjectRule) -> bool:
    """Tell whether the rule covers this commit: a ref that it allows has it as its tip.

    Args:
        resolved: None for a source that was sent along and has no ref; a rule that names refs does not cover that.
    """
    if resolved is None:
        return not rule.refs
    return any(is_allowed(ref, rule.refs) for ref in resolved.tips)

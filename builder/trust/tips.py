"""Which commits of a repository are its owners' own: those that a branch or a tag has as its tip. Pure.

A forge gives away more by name and by id than what its owners have taken: pull and merge requests (refs/pull/7/head,
refs/merge-requests/7/head, refs/changes/…), and GitHub even every commit of every fork.
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
    """Whether the full name `ref` is one of `patterns`: of branches (`release/*`), or of full names (`refs/tags/v*`).

    Without patterns all branches and tags are. What is neither never is, whatever a pattern says.
    """
    if not ref.startswith((BRANCHES, TAGS)):
        return False
    full = (pattern if pattern.startswith("refs/") else BRANCHES + pattern for pattern in patterns)
    return not patterns or any(fnmatchcase(ref, pattern) for pattern in full)


def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern of refs; None if nothing is."""
    if pattern.startswith("refs/") and not pattern.startswith((BRANCHES, TAGS)):
        return "covers what anyone may propose; only refs/heads/… and refs/tags/… can be trusted"
    return None


def trusted(resolved: Resolved | None, rule: ProjectRule) -> bool:
    """Whether the rule is for this commit: a ref that it allows is among those that have it as their tip.

    Args:
        resolved: None for what was sent along and comes from no ref; a rule that names refs is not for that.
    """
    if resolved is None:
        return not rule.refs
    return any(is_allowed(ref, rule.refs) for ref in resolved.tips)

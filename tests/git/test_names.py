"""What users call a commit, and where a repository is: resolved against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import (
    InvalidEvent,
    RefNotFound,
)
from builder.sources.git import Resolved, repository_url, resolve
from tests.git.forge import Host, git


@pytest.mark.parametrize(
    ("ref", "full", "commit"),
    [
        (None, "refs/heads/trunk", "third"),
        ("HEAD", "HEAD", "third"),
        ("trunk", "refs/heads/trunk", "third"),
        ("feature/deep/x", "refs/heads/feature/deep/x", "feature"),
        ("refs/heads/trunk", "refs/heads/trunk", "third"),
        ("light", "refs/tags/light", "first"),
        ("v1.0", "refs/tags/v1.0", "second"),
        ("nested", "refs/tags/nested", "second"),
        ("same", "refs/heads/same", "first"),
        ("refs/tags/both", "refs/tags/both", "second"),
    ],
)
def test_a_name_becomes_a_commit(host: Host, project: str, ref: str | None, full: str, commit: str) -> None:
    resolved = resolve(project, ref, credentials=())
    assert resolved == Resolved(url=project, ref=full, commit=host.commits[commit])
    assert full in resolved.tips


def test_a_full_commit_id_needs_no_server() -> None:
    url = "http://127.0.0.1:9/x/y"
    assert resolve(url, "A" * 40, credentials=()) == Resolved(url=url, ref="a" * 40, commit="a" * 40)


def test_a_short_commit_id_of_a_tip(host: Host, project: str) -> None:
    commit = host.commits["feature"]
    assert resolve(project, commit[:9], credentials=()).commit == commit


def test_a_short_commit_id_that_is_no_tip_is_explained(project: str) -> None:
    with pytest.raises(RefNotFound) as caught:
        resolve(project, "0123abc", credentials=())
    assert "write all 40 characters" in caught.value.hint


def test_an_unknown_name_suggests_the_nearest(project: str) -> None:
    with pytest.raises(
        RefNotFound, match=r"'origin/trnuk' is neither a branch nor a tag .*did you mean trunk\?"
    ) as caught:
        resolve(project, "origin/trnuk", credentials=())
    assert "branches: both, feature/deep/x, same, trunk; tags: both" in caught.value.hint


def test_a_branch_and_a_tag_of_one_name_must_agree(project: str) -> None:
    with pytest.raises(RefNotFound, match="both a branch and a tag") as caught:
        resolve(project, "both", credentials=())
    assert caught.value.hint == "write refs/heads/both or refs/tags/both"


@pytest.mark.parametrize("ref", [None, "main"])
def test_an_empty_repository_says_so(host: Host, ref: str | None) -> None:
    with pytest.raises(RefNotFound, match="is empty: it has no commits yet"):
        resolve(f"{host.public}/empty.git", ref, credentials=())


def test_a_default_branch_that_is_gone_lists_the_others(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "headless")
    work.commit({"a": "a"})
    git(work.bare, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(RefNotFound, match="no default branch") as caught:
        resolve(url, None, credentials=())
    assert "trunk" in caught.value.hint


@pytest.mark.parametrize(
    ("repo", "name", "base", "username", "url"),
    [
        ("https://h.org/a/b.git/", None, "https://github.com/me", "me", "https://h.org/a/b.git"),
        ("a/b", None, "https://github.com/me", "me", "https://github.com/a/b"),
        ("a/b", None, "", None, "https://github.com/a/b"),
        (None, "b", "https://github.com/me", "you", "https://github.com/me/b"),
        (None, "b", "https://github.com/me/", None, "https://github.com/me/b"),
        (None, "b", "https://gitlab.org", "me", "https://gitlab.org/me/b"),
        (None, "b", "", "me", "https://github.com/me/b"),
        (None, "b", "http://127.0.0.1:99", "me", "http://127.0.0.1:99/b"),
        # GitHub Enterprise
        ("team/b", None, "https://github.acme.io/team", None, "https://github.acme.io/team/b"),
        (None, "b", "https://github.acme.io/team", None, "https://github.acme.io/team/b"),
        # GitLab: groups in groups, below a path of its own
        ("group/sub/deeper/b", None, "https://gitlab.com", None, "https://gitlab.com/group/sub/deeper/b"),
        (None, "b", "https://gitlab.com/group/sub/deeper", None, "https://gitlab.com/group/sub/deeper/b"),
        ("https://acme.io/gitlab/group/sub/b.git", None, "", None, "https://acme.io/gitlab/group/sub/b.git"),
        # Bitbucket, in the cloud and in the cellar
        ("workspace/b", None, "https://bitbucket.org/workspace", None, "https://bitbucket.org/workspace/b"),
        (None, "b", "https://bitbucket.acme.io/scm/PRJ", None, "https://bitbucket.acme.io/scm/PRJ/b"),
        # CodeCommit
        (
            None,
            "b",
            "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos",
            None,
            "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/b",
        ),
    ],
)
def test_repository_urls(repo: str | None, name: str | None, base: str, username: str | None, url: str) -> None:
    assert repository_url(repo, name, base=base, username=username) == url


@pytest.mark.parametrize(
    ("repo", "name", "base", "words"),
    [
        (None, None, "", "repo: missing"),
        (None, "b", "", "has no owner"),
        ("http://h.org/a/b", None, "", "not encrypted"),
        (None, "b", "git@h.org:me", "repo_name:"),
    ],
)
def test_repository_urls_that_cannot_be(repo: str | None, name: str | None, base: str, words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        repository_url(repo, name, base=base, username=None)

"""What users call a commit, and where a repository is: resolved against a real server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import (
    InvalidEvent,
    RefNotFound,
    RepositoryNotFound,
)
from builder.event.read import parse_event
from builder.flow import fetching
from builder.secrets.logins import Logins
from builder.sources.git import Resolved, repository_urls, resolve
from localaws.testing import Server
from tests.security.test_references import context
from tests.sources.forge import Answer, Front, Host, git


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


def test_a_branch_and_a_tag_of_one_name_are_suggested_once(project: str) -> None:
    with pytest.raises(RefNotFound, match=r"did you mean both\?$"):
        resolve(project, "bothh", credentials=())


def test_a_pull_request_is_told_by_its_full_name(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "pulls")
    commit = work.commit({"a": "a"})
    git(work.bare, "update-ref", "refs/pull/1/head", commit)
    with pytest.raises(RefNotFound, match="'pull/1/head' is neither a branch nor a tag") as caught:
        resolve(url, "pull/1/head")
    assert caught.value.hint == "there is refs/pull/1/head: write that"
    assert resolve(url, "refs/pull/1/head").commit == commit
    with pytest.raises(RefNotFound) as caught:
        resolve(url, "pull/2/head")
    assert caught.value.hint == "branches: trunk"


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
    assert repository_urls(repo, name, base=base, username=username)[0] == url


@pytest.mark.parametrize(
    ("repo", "base", "urls"),
    [
        ("o/n", "https://h.org/gitea", ["https://h.org/o/n", "https://h.org/gitea/o/n"]),
        ("o/n", "https://h.org/x/gitea/", ["https://h.org/o/n", "https://h.org/x/o/n", "https://h.org/x/gitea/o/n"]),
        ("o/n", "https://github.com/me", ["https://github.com/o/n"]),
        ("o/n", "https://h.org:3000", ["https://h.org:3000/o/n"]),
        # What was spoken to by ssh is reached as the forge is; what names its port knows better.
        ("https://h.org/o/n.git", "https://h.org:3000/me", ["https://h.org:3000/o/n.git"]),
        ("https://H.org/o/n.git", "https://h.org:3000", ["https://h.org:3000/o/n.git"]),
        ("https://127.0.0.1/o/n.git", "http://127.0.0.1:3000", ["http://127.0.0.1:3000/o/n.git"]),
        ("https://h.org:443/o/n.git", "https://h.org:3000/me", ["https://h.org:443/o/n.git"]),
        ("https://other.org/o/n.git", "https://h.org:3000/me", ["https://other.org/o/n.git"]),
        ("https://h.org.evil.org/o/n.git", "https://h.org:3000", ["https://h.org.evil.org/o/n.git"]),
    ],
)
def test_where_a_forge_is(repo: str, base: str, urls: list[str]) -> None:
    assert list(repository_urls(repo, None, base=base, username="me")) == urls


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
        repository_urls(repo, name, base=base, username=None)


def gitea(path: str, headers: dict[str, str]) -> Answer | None:
    """A forge below a path of its own, beside a website."""
    if not path.startswith("/gitea/"):
        return 404, {"Content-Type": "text/html"}, b"<html>"
    return None


class Below(Front):
    """Serves what is behind it below /gitea."""

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        return super().forward(method, path.removeprefix("/gitea"), headers, body)


@pytest.mark.parametrize("ref", ["trunk", "commit"])
def test_a_forge_below_a_path_is_found(host: Host, localaws: Server, tmp_path: Path, ref: str) -> None:
    (host.root / "team").mkdir(exist_ok=True)
    work, _ = host.work(tmp_path, "team/shop")
    commit = work.commit({"a": "a"})
    with Below(gitea, host.public) as front:
        there = context(localaws, tmp_path, Logins())
        there = replace(there, settings=replace(there.settings, git_base=f"{front.url}/gitea"))
        wanted = commit if ref == "commit" else ref
        request = parse_event({"action": "package", "function": "f", "repo": "team/shop", "ref": wanted})
        resolved = fetching.resolve(request, there)
        assert resolved is not None
        assert (resolved.url, resolved.commit) == (f"{front.url}/gitea/team/shop", commit)
        missing = parse_event({"action": "package", "function": "f", "repo": "team/none", "ref": "trunk"})
        with pytest.raises(RepositoryNotFound) as caught:
            fetching.resolve(missing, there)
        assert f"also asked: {front.url}/gitea/team/none" in caught.value.hint

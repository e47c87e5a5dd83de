"""Submodules: fetched from allowed hosts, with the credentials of their own, and nothing of them leaves the tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import LambdasmithError, RepositoryNotFound, SourceError, UnsafeSource
from builder.sources.git import GitCredentials, Network, fetch, resolve
from builder.sources.submodules import submodules_of
from tests.sources.forge import TOKEN, Front, Host, Work, git


def add_submodule(work: Work, path: str, url: str, commit: str, *, more: str = "") -> None:
    """Write down a submodule as git does, whether or not git could fetch it, and push."""
    modules = work.directory / ".gitmodules"
    text = modules.read_text() if modules.exists() else ""
    modules.write_text(f'{text}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n{more}')
    (work.directory / path).mkdir(parents=True, exist_ok=True)  # for git, a submodule that is not checked out
    git(work.directory, "add", ".gitmodules")
    git(work.directory, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(work.directory, "commit", "-q", "-m", f"submodule {path}")
    git(work.directory, "push", "-q", "origin", "HEAD")


@pytest.mark.parametrize("url", ["../project.git", "./../project", "{host}/project.git"])
def test_a_submodule_is_its_commit_and_the_tree_stays_the_projects(host: Host, tmp_path: Path, url: str) -> None:
    work, address = host.work(tmp_path, "super")
    work.commit({"app.py": "x = 1\n"})
    add_submodule(work, "vendor/lib", url.format(host=host.public), host.commits["first"])
    snapshot = fetch(resolve(address, None), tmp_path / "into")
    assert (snapshot.root / "vendor/lib/handler.py").read_text() == "VERSION = 1\n"
    assert snapshot.tree == git(work.directory, "rev-parse", "HEAD^{tree}")
    assert (snapshot.submodules, snapshot.warnings, snapshot.files) == ((), (), 3)
    assert not list(snapshot.root.rglob(".git"))


def test_a_submodule_on_another_host_is_refused_unless_it_is_allowed(host: Host, tmp_path: Path) -> None:
    work, address = host.work(tmp_path, "super")
    with Front(lambda path, headers: None, host.public) as front:
        other = front.url.removeprefix("http://")
        add_submodule(work, "vendor/lib", f"{front.url}/project.git", host.commits["first"])
        resolved = resolve(address, None)
        with pytest.raises(
            UnsafeSource, match=f"submodule vendor/lib: {front.url}/project.git is on {other}"
        ) as caught:
            fetch(resolved, tmp_path / "into")
        assert f"add {other} to git_hosts" in caught.value.hint
        assert not front.asked
        assert not (tmp_path / "into").exists()
        snapshot = fetch(resolved, tmp_path / "into", network=Network(allowed_hosts=(other,)))
        assert (snapshot.root / "vendor/lib/handler.py").exists()
        # What is in another corner than the project is not worth failing for.
        elsewhere = fetch(resolved, tmp_path / "elsewhere", path="functions/web")
        assert elsewhere.submodules == ("vendor/lib",)
        assert f"add {other}" not in elsewhere.warnings[0]
        assert "submodules are not fetched from there" in elsewhere.warnings[0]
        with pytest.raises(UnsafeSource):
            fetch(resolved, tmp_path / "above", path="vendor")


def test_each_host_gets_its_own_credentials(host: Host, tmp_path: Path) -> None:
    work, address = host.work(tmp_path, "super")
    add_submodule(work, "lib", f"{host.private}/project.git", host.commits["first"])
    ours = GitCredentials(username="me", token="of-another-forge", base=host.public)
    theirs = GitCredentials(username="me", token=TOKEN, base=host.private)
    snapshot = fetch(resolve(address, None, credentials=[ours]), tmp_path / "into", credentials=[ours, theirs])
    assert (snapshot.root / "lib/handler.py").exists()
    private = host.private.removeprefix("http://")
    with pytest.raises(RepositoryNotFound, match=r"^submodule lib: ") as caught:
        fetch(
            resolve(address, None),
            tmp_path / "none",
            credentials=[ours],
            network=Network(allowed_hosts=(private,)),
        )
    assert "belongs to another server and was not sent" in caught.value.hint


def test_submodules_of_submodules(host: Host, tmp_path: Path) -> None:
    inner, _ = host.work(tmp_path, "inner")
    add_submodule(inner, "deep", "../project.git", host.commits["first"])
    (inner.directory / "to-deep").symlink_to("deep/handler.py")
    commit = inner.push()
    work, address = host.work(tmp_path, "super")
    add_submodule(work, "a/inner", "../inner.git", commit)
    snapshot = fetch(resolve(address, None), tmp_path / "into")
    assert (snapshot.root / "a/inner/to-deep").read_text() == "VERSION = 1\n"


def test_submodules_without_end_are_refused(host: Host, tmp_path: Path) -> None:
    """Each commit has an older one of its own repository as submodule: git would go on to the first."""
    work, address = host.work(tmp_path, "itself")
    commit = work.commit({"a": "a"})
    for _ in range(8):
        add_submodule(work, "again", "../itself.git", commit)
        commit = git(work.directory, "rev-parse", "HEAD")
        (work.directory / ".gitmodules").write_text("")
    with pytest.raises(UnsafeSource, match=r"submodules inside of each other; .*/itself.git contains itself"):
        fetch(resolve(address, None), tmp_path / "into")


def test_a_commit_that_is_gone_names_the_submodule(host: Host, tmp_path: Path) -> None:
    work, address = host.work(tmp_path, "super")
    add_submodule(work, "lib", "../project.git", "1" * 40)
    with pytest.raises(LambdasmithError, match=f"^submodule lib: commit {'1' * 40} is not in"):
        fetch(resolve(address, None), tmp_path / "into")


def test_a_link_that_leaves_through_a_submodule_is_refused(host: Host, tmp_path: Path) -> None:
    """In the project alone it ends inside, since what it goes through is only there afterwards."""
    inner, _ = host.work(tmp_path, "inner")
    (inner.directory / "up").symlink_to(".")
    commit = inner.push()
    work, address = host.work(tmp_path, "super")
    (work.directory / "evil").symlink_to("lib/up/../../outside")
    add_submodule(work, "lib", "../inner.git", commit)
    work.push()
    with pytest.raises(UnsafeSource, match="evil: the symbolic link leaves the repository"):
        fetch(resolve(address, None), tmp_path / "into")


def parsed(text: str, *, parent: str = "https://forge.org/team/app.git", path: str = "lib") -> str:
    wanted, left = submodules_of({path: "1" * 40}, text.encode(), parent=parent)
    return wanted[0].url if wanted else left[path]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://other.org/x/y.git", "https://other.org/x/y.git"),
        ("git@github.com:o/n.git", "https://github.com/o/n.git"),
        ("ssh://git@github.com:22/o/n.git", "https://github.com/o/n.git"),
        ("git://github.com/o/n", "https://github.com/o/n"),
        ("http://github.com/o/n", "https://github.com/o/n"),
        ("../lib.git", "https://forge.org/team/lib.git"),
        ("../../others/lib", "https://forge.org/others/lib"),
        ("./nested.git", "https://forge.org/team/app.git/nested.git"),
    ],
)
def test_urls_are_found_as_git_finds_them(url: str, expected: str) -> None:
    assert parsed(f'[submodule "x"]\n path = lib\n url = {url}\n') == expected


def test_a_submodule_that_is_spoken_to_by_ssh_is_where_the_project_is() -> None:
    parent = "https://forge.org:3000/team/app.git"
    for url, expected in {
        "git@forge.org:o/n.git": "https://forge.org:3000/o/n.git",
        "ssh://git@forge.org:2222/o/n.git": "https://forge.org:3000/o/n.git",
        "https://forge.org/o/n.git": "https://forge.org/o/n.git",
        "git@other.org:o/n.git": "https://other.org/o/n.git",
    }.items():
        assert parsed(f'[submodule "x"]\n path = lib\n url = {url}\n', parent=parent) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path = lib\nurl = ../../../../x", "goes up beyond forge.org"),
        ("path = lib\nurl = ../../..", "goes up beyond forge.org"),
        ("path = lib\nurl = https://me:s3cret@h.org/x", "contains credentials"),
        ("path = lib\nurl = /etc/x", "is not an https URL"),
        ("path = lib\nurl = file:///etc/x", "is not an https URL"),
        ("path = lib\nurl = -uupload", "is not an https URL"),
    ],
)
def test_urls_that_cannot_be_fetched_name_the_submodule(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=f"submodule lib: .*{words}") as caught:
        parsed(f'[submodule "x"]\n{text}\n')
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[submodule "x"]\npath = lib\n', "does not say where it comes from"),
        ('[submodule "x"]\npath = ../lib\nurl = ../x\n', "does not say where it comes from"),
        ('[submodule "x"]\npath = lib\nurl = ../x\nupdate = none\n', "says update = none"),
        ("", "does not say where it comes from"),
    ],
)
def test_what_is_left_empty(text: str, why: str) -> None:
    assert why in parsed(text)


def test_a_gitmodules_that_cannot_be_read_says_so() -> None:
    with pytest.raises(SourceError, match=r"\.gitmodules cannot be read"):
        parsed("[submodule\n")


@given(st.binary(max_size=300), st.text("./abc", max_size=20))
def test_whatever_it_says_the_answer_is_a_submodule_of_an_https_url_or_our_error(junk: bytes, url: str) -> None:
    text = b'[submodule "x"]\npath = lib\nurl = ' + url.encode() + b"\n" + junk
    try:
        wanted, left = submodules_of({"lib": "1" * 40}, text, parent="https://forge.org/team/app.git")
    except SourceError:
        return
    assert len(wanted) + len(left) == 1
    assert all(each.path == "lib" and each.url.startswith("https://") for each in wanted)

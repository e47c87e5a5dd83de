"""What paths and versions of Go modules mean, and where private ones are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builder.golang.paths import (
    Candidate,
    Version,
    candidates,
    homes,
    is_module_path,
    newest,
    pseudo_version,
    split_major,
    unescaped,
)
from builder.golang.proxy import found_in
from builder.network.access import GitCredentials


def login(base: str, *modules: str) -> GitCredentials:
    return GitCredentials(username="me", token="t", base=base, modules=modules)


GITLAB = login("https://gitlab.example.com")
VANITY = login("https://git.example.com:8443/scm", "go.example.com")
OWNER = login("https://github.com/team-a")
WHOLE = login("https://github.com/", "github.com/me")


@pytest.mark.parametrize(
    ("logins", "path", "private", "places"),
    [
        ([OWNER], "github.com/team-a/lib", True, ["https://github.com/team-a/lib.git "]),
        ([OWNER], "github.com/team-a/lib/sub/v2", True, ["https://github.com/team-a/lib.git sub"]),
        ([OWNER], "github.com/team-ab/lib", False, ["https://github.com/team-ab/lib.git "]),
        # A login for all of a public forge makes nobody else's modules private.
        ([WHOLE], "github.com/other/lib", False, ["https://github.com/other/lib.git "]),
        ([WHOLE], "github.com/me/lib", True, ["https://github.com/me/lib.git "]),
        ([WHOLE], "github.com/beside/lib", True, ["https://github.com/beside/lib.git "]),
        (
            [GITLAB],
            "gitlab.example.com/group/sub/lib/v3",
            True,
            [
                "https://gitlab.example.com/group/sub.git lib",
                "https://gitlab.example.com/group/sub/lib.git ",
                "https://gitlab.example.com/group.git sub/lib",
            ],
        ),
        ([GITLAB], "gitlab.example.com/a/b/c.git/d", True, ["https://gitlab.example.com/a/b/c.git d"]),
        (
            [VANITY],
            "go.example.com/lib/sub",
            True,
            ["https://git.example.com:8443/scm/lib.git sub", "https://git.example.com:8443/scm/lib/sub.git "],
        ),
        ([], "example.org/a/b.git/c", False, ["https://example.org/a/b.git c"]),
        ([], "example.org/a/b", False, []),
    ],
)
def test_the_repositories_of_a_module(
    logins: Sequence[GitCredentials], path: str, private: bool, places: Sequence[str]
) -> None:
    found = homes(logins, "https://github.com/beside/project.git")
    home = next((home for home in found if home.covers(path)), None)
    assert (home is not None) == private
    made = list(candidates(path, home, logins))
    assert [f"{one.url} {one.directory}" for one in made][: len(places)] == places
    assert bool(made) == bool(places)
    prefix, _ = split_major(path)
    for one in made:
        assert "/".join(filter(None, [one.root, one.directory])) == prefix


def test_versions_are_sorted_as_semantic_versioning_says() -> None:
    text = (
        "v0.1.0 v1.0.0-alpha v1.0.0-alpha.1 v1.0.0-alpha.beta v1.0.0-beta.2 v1.0.0-beta.11 v1.0.0 v1.2.0 v1.10.0-rc.1"
    )
    versions = [version for word in text.split() if (version := Version.parse(word))]
    versions = versions[4:] + versions[:4]
    assert [version.text for version in sorted(versions, key=lambda one: one.order)] == text.split()
    best = newest(versions)
    assert best is not None
    assert best.text == "v1.2.0"
    for wrong in ("1.0.0", "v1.0", "v01.0.0", "v1.0.0-01", "v1.0.0+meta", "v1.0.0 ", "master", ""):
        assert Version.parse(wrong) is None, wrong


@pytest.mark.parametrize(
    ("base", "major", "made"),
    [
        (None, "", "v0.0.0-20240102030405-0123456789ab"),
        (None, "/v4", "v4.0.0-20240102030405-0123456789ab"),
        ("v1.2.3", "", "v1.2.4-0.20240102030405-0123456789ab"),
        ("v1.2.3-rc.1", "", "v1.2.3-rc.1.0.20240102030405-0123456789ab"),
    ],
)
def test_pseudo_versions(base: str | None, major: str, made: str) -> None:
    before = Version.parse(base) if base else None
    assert pseudo_version(before, major, "20240102030405", "0123456789abcdef") == made
    version = Version.parse(made)
    assert version is not None
    assert (version.time, version.commit, version.fits(major)) == ("20240102030405", "0123456789ab", True)


def test_paths() -> None:
    assert unescaped("github.com/!azure/!s!d!k") == "github.com/Azure/SDK"
    for wrong in ("Azure", "a!", "a!!b", "!1"):
        with pytest.raises(ValueError, match="is not escaped"):
            unescaped(wrong)
    assert split_major("h.x/a/v2") == ("h.x/a", "/v2")
    assert {split_major(f"h.x/a/{end}")[1] for end in ("v1", "v0", "v02", "x2")} == {""}
    assert all(map(is_module_path, ("go.example.com", "github.com/team-a", "h.x/a.b/c_d~e")))
    assert not any(map(is_module_path, ("", "example", "h.x/", "h.x/..", "h.x/a b", "https://h.x", "H.x/a", "h.x/.a")))


def test_what_a_host_says_of_its_modules() -> None:
    tag = "go.corp.example/lib git https://git.corp.example/team/lib"
    url = "https://git.corp.example/team/lib"
    expected = Candidate(url=url, root="go.corp.example/lib", directory="sub")
    assert found_in([tag, "other.example git https://x.example/y"], "go.corp.example/lib/sub/v2") == expected
    inner = Candidate(url=url, root="go.corp.example/lib", directory="sub/go")
    assert found_in([f"{tag} go"], "go.corp.example/lib/sub") == inner
    for wrong in (
        "go.corp.example/library hg x",
        f"go.corp.example/li git {url}",
        "",
        "x",
        "go.corp.example/lib git file:///etc",
    ):
        assert found_in([wrong], "go.corp.example/lib") is None
    assert found_in([tag, tag.replace("team", "other")], "go.corp.example/lib") is None

"""Secrets are for commits that a branch or a tag has: not for what anyone may propose to a repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builder.context import Context
from builder.errors import SecretNotAllowed
from builder.event.request import Action, GitSource, Request
from builder.flow import allowance, fetching
from builder.records.builds import Builds
from builder.records.record import DeploymentRecord
from builder.replies.reply import Reply
from builder.secrets.logins import Logins, ProjectRule
from builder.sources.git import Resolved
from builder.store.values import Fields
from builder.trust.tips import is_allowed, trusted
from localaws.testing import Server, git_server
from tests.security.test_references import build_file, context
from tests.sources.forge import Work, git
from tests.spec.reading import read_build_file
from tests.store.storing import deployment_of, new_bucket, store_in

SPEC = read_build_file(build_file("secretsmanager:team/npm#token"), file="build.yaml")
ALLOW = ("secretsmanager:team/*",)


@dataclass(frozen=True)
class Repository:
    """A served repository with commits of all kinds, and a world to ask about them in."""

    url: str
    commits: dict[str, str]
    world: Context

    def under(self, *rules: ProjectRule) -> Repository:
        """The same, with other rules."""
        logins = Logins(projects=rules)
        world = replace(
            self.world, settings=replace(self.world.settings, logins=logins), tips={}, allowed_secrets=set()
        )
        return replace(self, world=world)

    def resolved(self, ref: str | None) -> Resolved:
        request = Request(action=Action.BUILD, function="shop", source=GitSource(repo=self.url, ref=ref))
        found = fetching.resolve(request, self.world)
        assert found is not None
        return found

    def gets(self, ref: str | None) -> bool:
        """Whether the commit called `ref` may have the secret."""
        try:
            allowance.check(SPEC, "shop", self.resolved(ref), self.world)
        except SecretNotAllowed:
            return False
        return True

    def deployed(self, ref: str, function: str = "shop") -> None:
        """Record a deploy, as a build does."""
        resolved = self.resolved(ref)
        builds, source = Builds(self.world.store), GitSource(repo=self.url, ref=ref)
        claim = builds.claim(f"build-{function}-{ref[-8:].replace('/', '-')}", function)
        reply: Reply = {"statusCode": 200, "changed": ["code"], "ref": resolved.ref, "commit": resolved.commit}
        deployment = replace(
            DeploymentRecord.parse(Fields(deployment_of())), origin=allowance.origin(resolved, self.world)
        )
        request = Request(action=Action.BUILD, function=function, source=source)
        builds.end(claim, request, reply, seconds=1, deployment=deployment)


@pytest.fixture
def repository(localaws: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", localaws.endpoint_url)
    served = tmp_path / "served"
    served.mkdir()
    work = Work(tmp_path / "work", served / "cart.git")
    where = work.directory
    commits = {"old": work.commit({"a": "1"}), "trunk": work.commit({"a": "2"})}

    def propose(name: str, *refs: str) -> None:
        git(where, "checkout", "-q", "-b", name, "trunk")
        (where / "evil").write_text(name)
        git(where, "add", "-A")
        git(where, "commit", "-q", "-m", name)
        git(where, "push", "-q", "origin", *(f"HEAD:{ref}" for ref in refs))
        commits[name] = git(where, "rev-parse", "HEAD")

    propose("pull", "refs/pull/7/head")
    propose("merge", "refs/merge-requests/7/head")
    propose("change", "refs/changes/07/7/1")
    propose("wip", "refs/heads/wip")
    propose("release", "refs/heads/release/1")
    propose("tagged", "refs/tags/v1")
    git(where, "push", "-q", "origin", "trunk:refs/pull/8/head")
    # As GitHub does: what is in a fork is given away by id from the repository itself.
    propose("fork", "refs/heads/fork")
    git(work.bare, "update-ref", "-d", "refs/heads/fork")
    store = store_in(localaws, new_bucket(localaws))
    world = replace(context(localaws, tmp_path, Logins()), store=store)
    with git_server(served) as server:
        assert server.url
        yield Repository(url=f"{server.url}/cart.git", commits=commits, world=world)


def test_commits_of_branches_and_tags_get_secrets_and_proposals_do_not(repository: Repository) -> None:
    there = repository.under(ProjectRule(pattern="shop", allow=ALLOW))
    commits = there.commits
    for own in (None, "HEAD", "trunk", "refs/heads/trunk", "wip", "v1", commits["trunk"], commits["trunk"][:10],
                commits["wip"], commits["tagged"], commits["trunk"].upper(),
                "refs/pull/8/head"):  # a proposal that has been taken as it is  # fmt: skip
        assert there.gets(own), own
    for other in ("refs/pull/7/head", commits["pull"], "refs/merge-requests/7/head", commits["merge"],
                  "refs/changes/07/7/1", commits["change"], commits["fork"], commits["old"], "f" * 40):  # fmt: skip
        assert not there.gets(other), other
    assert not there.world.secret_texts, "something was read"


def test_a_rule_names_the_refs_that_it_is_for(repository: Repository) -> None:
    commits = repository.commits
    there = repository.under(ProjectRule(pattern="shop", allow=ALLOW, refs=("trunk", "release/*", "refs/tags/v*")))
    for own in (None, "trunk", "release/1", "v1", commits["trunk"], commits["release"], commits["tagged"]):
        assert there.gets(own), own
    for other in ("wip", commits["wip"], "refs/pull/7/head", commits["pull"], commits["fork"]):
        assert not there.gets(other), other
    # Nothing makes a proposal trusted, whatever the rule says.
    wide = repository.under(ProjectRule(pattern="shop", allow=ALLOW, refs=("refs/*", "*", "pull/*")))
    assert wide.gets("wip")
    assert not wide.gets("refs/pull/7/head")


def test_an_older_commit_gets_secrets_if_it_was_deployed_from_an_allowed_ref(repository: Repository) -> None:
    there = repository.under(ProjectRule(pattern="shop", allow=ALLOW, refs=("trunk",)))
    old = there.commits["trunk"]
    there.deployed("trunk")
    there.deployed("wip")
    there.deployed("refs/pull/7/head")
    there.deployed(there.commits["fork"])
    work = there.world.workspace.root / "work"
    git(work, "checkout", "-q", "trunk")
    git(work, "commit", "-q", "--allow-empty", "-m", "newer")
    git(work, "push", "-q", "origin", "HEAD")
    git(work, "push", "-q", "origin", "--delete", "wip")
    later = there.under(*there.world.settings.logins.projects)
    assert later.resolved("trunk").commit != old
    assert later.gets(old)
    for other in ("wip", "pull", "fork", "old"):
        assert not later.gets(there.commits[other]), other
    # A record of another repository says nothing.
    elsewhere = replace(later.resolved(old), url=later.url.replace("cart", "./cart"))
    assert Builds(later.world.store).deployed_from(elsewhere.url, old) == ()
    assert later.under(ProjectRule(pattern="shop", allow=ALLOW)).gets(there.commits["wip"]), "it was a branch then"


def test_what_is_refused_is_told_with_commit_ref_rule_and_deed(repository: Repository) -> None:
    there = repository.under(ProjectRule(pattern="shop", allow=ALLOW, refs=("trunk", "release/*")))
    with pytest.raises(SecretNotAllowed) as caught:
        allowance.check(SPEC, "shop", there.resolved("refs/pull/7/head"), there.world)
    assert caught.value.message == (
        "build.yaml:7: layers.data.secrets.0.from: [project shop] gives secretsmanager:team/npm#token only to commits "
        f"of trunk, release/*, and commit {there.commits['pull']} (refs/pull/7/head) is not the tip of one and was not "
        "deployed from one"
    )
    assert "merge the commit into a branch" in caught.value.hint
    assert "[project" in caught.value.hint
    two = read_build_file(build_file("secretsmanager:team/npm", "ssm:/others/x"), file="build.yaml")
    with pytest.raises(SecretNotAllowed) as caught:
        allowance.check(two, "shop", there.resolved("refs/pull/7/head"), there.world)
    assert len(caught.value.problems) == 2


def test_what_is_sent_along_comes_from_no_ref(repository: Repository) -> None:
    free = repository.under(ProjectRule(pattern="shop", allow=ALLOW))
    allowance.check(SPEC, "shop", None, free.world)
    bound = repository.under(ProjectRule(pattern="shop", allow=ALLOW, refs=("trunk",)))
    with pytest.raises(SecretNotAllowed, match="files that were sent along come from no ref"):
        allowance.check(SPEC, "shop", None, bound.world)


def test_a_commit_is_trusted_if_every_rule_about_its_repository_agrees(repository: Repository) -> None:
    def is_trusted(there: Repository, ref: str) -> bool:
        return allowance.trusted_commit(there.resolved(ref), there.world)

    free = repository.under()
    assert is_trusted(free, "wip")
    assert is_trusted(free, free.commits["wip"])
    for other in ("refs/pull/7/head", free.commits["pull"], free.commits["fork"]):
        assert not is_trusted(free, other), other
    host = free.url.split("/")[2]
    bound = repository.under(ProjectRule(pattern=f"{host}/*", allow=ALLOW, refs=("trunk",)))
    assert is_trusted(bound, "trunk")
    assert not is_trusted(bound, "wip")
    by_name = repository.under(ProjectRule(pattern="shop-*", allow=ALLOW, refs=("trunk",)))
    assert not is_trusted(by_name, "wip"), "whoever asks may name any function"
    others = repository.under(ProjectRule(pattern="example.com/*", allow=ALLOW, refs=("trunk",)))
    assert is_trusted(others, "wip")


@pytest.mark.parametrize(
    ("ref", "patterns", "allowed"),
    [
        ("refs/heads/main", (), True),
        ("refs/tags/v1", (), True),
        ("refs/pull/1/head", (), False),
        ("refs/keep-around/0123", ("refs/*",), False),
        ("HEAD", ("*",), False),
        ("refs/tags/main", ("main",), False),
        ("refs/heads/main2", ("main",), False),
        ("refs/heads/release/1/2", ("release/*",), True),
        ("refs/tags/v1", ("refs/tags/v*",), True),
    ],
)
def test_patterns_of_refs(ref: str, patterns: tuple[str, ...], allowed: bool) -> None:
    assert is_allowed(ref, patterns) is allowed
    resolved = Resolved(url="https://h/r", ref=ref, commit="1" * 40, tips=(ref,))
    assert trusted(resolved, ProjectRule(pattern="*", allow=(), refs=patterns)) is allowed

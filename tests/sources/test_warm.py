"""A warm environment asks for what is new, and never answers by itself what only the server may."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from builder.errors import AuthenticationFailed, RefNotFound, RepositoryNotFound
from builder.sources import kept
from builder.sources.git import GitCredentials, Snapshot, fetch, resolve
from tests.sources.forge import MINE, Front, Host, git


def source(seed: int, lines: int = 400) -> str:
    return "".join(f"value_{number} = {random.Random(seed + number).random()}\n" for number in range(lines))


class Warm:
    """A repository behind a front that counts, and fetches of it into one cache."""

    def __init__(self, host: Host, tmp_path: Path) -> None:
        self.work, _ = host.work(tmp_path, "warm")
        for number in range(30):
            (self.work.directory / f"m{number}.py").write_text(source(number * 1000))
        self.work.push()
        self.host, self.tmp_path, self.cache = host, tmp_path, tmp_path / "cache"
        self.cache.mkdir()
        self.sizes: list[int] = []
        self.front = Front(lambda path, headers: None, host.public)
        forward = self.front.forward

        def counting(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
            status, fields, content = forward(method, path, headers, body)
            assert isinstance(content, bytes)
            if b"fetch" in body or b"want" in body:
                self.sizes.append(len(content))
            return status, fields, content

        self.front.forward = counting  # type: ignore[method-assign]

    def fetch(self) -> Snapshot:
        url = f"{self.front.url}/warm.git"
        into = self.tmp_path / f"into-{len(list(self.tmp_path.iterdir()))}"
        snapshot = fetch(resolve(url, "trunk"), into, cache=self.cache)
        git(into, "init", "-q")
        git(into, "add", "-A")
        assert git(into, "write-tree") == snapshot.tree == git(self.work.directory, "rev-parse", "HEAD^{tree}")
        return snapshot


@pytest.mark.parametrize("old", [False, True], ids=["protocol 2", "protocol 0"])
def test_only_what_is_new_is_sent(host: Host, tmp_path: Path, old: bool) -> None:
    warm = Warm(host, tmp_path)
    if old:

        def without(path: str, headers: dict[str, str]) -> None:
            headers.pop("git-protocol", None)

        warm.front.behave = without
    with warm.front:
        warm.fetch()
        warm.fetch()
        (warm.work.directory / "m7.py").write_text(source(7000).replace("value_3 ", "renamed "))
        (warm.work.directory / "m8.py").unlink()
        (warm.work.directory / "new").mkdir()
        (warm.work.directory / "new" / "m.py").write_text("x = 1\n")
        warm.work.push()
        warm.fetch()
    first, same, changed = warm.sizes
    assert first > 100_000
    assert same < 300, "the server was asked, and had nothing to send"
    assert changed < 1500, "one line of one file, as a difference to what was there"
    assert len(list(warm.cache.iterdir())) == 1


def test_history_that_was_rewritten_and_packs_that_pile_up(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_MAX_PACKS", 3)
    warm = Warm(host, tmp_path)
    with warm.front:
        warm.fetch()
        git(warm.work.directory, "checkout", "-q", "--orphan", "again")
        git(warm.work.directory, "branch", "-D", "trunk")
        git(warm.work.directory, "branch", "-m", "trunk")
        (warm.work.directory / "m1.py").write_text("x = 1\n")
        git(warm.work.directory, "add", "-A")
        git(warm.work.directory, "commit", "-q", "-m", "again")
        git(warm.work.directory, "push", "-q", "-f", "origin", "HEAD")
        git(warm.work.bare, "reflog", "expire", "--expire=now", "--all")
        git(warm.work.bare, "gc", "-q", "--prune=now")
        warm.fetch()
        assert warm.sizes[1] > 0.9 * warm.sizes[0], "the server no longer knows what we have"
        for number in range(4):
            warm.work.commit({"m2.py": f"x = {number}\n"})
            warm.fetch()
            assert len(list(warm.cache.rglob("*.pack"))) <= 3
    assert [size > 100_000 for size in warm.sizes[2:]].count(True) == 1, "begun anew once"


@pytest.mark.parametrize("damage", ["pack", "index", "commit", "other"])
def test_a_cache_that_was_damaged_costs_a_fetch_and_no_more(host: Host, tmp_path: Path, damage: str) -> None:
    warm = Warm(host, tmp_path)
    with warm.front:
        warm.fetch()
        (entry,) = warm.cache.iterdir()
        if damage == "commit":
            (entry / "commit").write_text("no such thing")
        elif damage == "other":
            (entry / "commit").write_text(host.commits["first"])
            (entry / "0.pack").unlink()
            (entry / "0.idx").unlink()
        else:
            path = entry / ("0.pack" if damage == "pack" else "0.idx")
            raw = bytearray(path.read_bytes())
            raw[2000:2600] = bytes(600)
            path.write_bytes(raw)
        warm.fetch()
        warm.fetch()
    assert warm.sizes[-1] < 300


def test_the_cache_is_no_way_round_the_server(host: Host, tmp_path: Path) -> None:
    """Whoever asks with a token that is not, or no longer, good is told so, though all that he asks for is here."""
    url, cache = f"{host.private}/project.git", tmp_path / "cache"
    cache.mkdir()
    commit = host.commits["third"]
    assert fetch(resolve(url, commit), tmp_path / "one", credentials=[MINE], cache=cache).commit == commit
    assert list(cache.iterdir())
    with pytest.raises(RepositoryNotFound):
        fetch(resolve(url, commit), tmp_path / "two", cache=cache)
    wrong = GitCredentials(username="me", token="revoked")
    with pytest.raises(AuthenticationFailed):
        fetch(resolve(url, commit), tmp_path / "three", credentials=[wrong], cache=cache)
    assert MINE.token not in str([path.name for path in cache.rglob("*")])


def test_what_another_token_has_fetched_is_not_lent(host: Host, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    url = f"{host.public}/project.git"
    assert fetch(resolve(url, None), tmp_path / "one", credentials=[MINE], cache=cache)
    (entry,) = cache.iterdir()
    other = kept.Kept(cache, url, GitCredentials(username="me", token="another"))
    packs = tmp_path / "packs"
    packs.mkdir()
    assert other.link_packs(packs) is None
    assert kept.Kept(cache, url, MINE).link_packs(packs) == kept.Held(commit=host.commits["third"])
    fetch(resolve(url, None), tmp_path / "two", cache=cache)
    assert entry not in list(cache.iterdir()), "one entry for each repository"
    assert len(list(cache.iterdir())) == 1


def test_a_commit_that_is_not_there_is_not_there_for_a_warm_environment_either(host: Host, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    url = f"{host.public}/project.git"
    fetch(resolve(url, None), tmp_path / "one", cache=cache)
    with pytest.raises(RefNotFound):
        fetch(resolve(url, "1" * 40), tmp_path / "two", cache=cache)


def test_nothing_is_kept_of_what_is_too_large(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_SHARE", 0.0)
    cache = tmp_path / "cache"
    cache.mkdir()
    fetch(resolve(f"{host.public}/project.git", None), tmp_path / "one", cache=cache)
    assert not list(cache.iterdir())

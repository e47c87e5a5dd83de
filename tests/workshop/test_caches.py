"""What compilers keep: for whom, for how long, and that it comes back."""

from __future__ import annotations

from pathlib import Path

from builder.store.directory import DirectoryStore
from builder.workshop.caches import BuildCache
from builder.workspace.directory import Workspace


def cache(tmp_path: Path, place: str, owner: str = "repo") -> BuildCache:
    workspace = Workspace(tmp_path / place)
    made = BuildCache(
        root=workspace.cached("builds"),
        workspace=workspace,
        store=DirectoryStore(tmp_path / "store" / owner),
        name="go",
    )
    made.restore()
    return made


def test_a_cache_comes_back_in_another_environment_and_only_to_its_owner(tmp_path: Path) -> None:
    first = cache(tmp_path, "one")
    assert not list(first.folder.iterdir())
    (first.folder / "build").mkdir()
    (first.folder / "build" / "object").write_bytes(b"x" * 5000)
    (first.folder / "build" / "object").chmod(0o755)
    (first.folder / "log").write_text("not worth it")
    (first.folder / "link").symlink_to("build/object")
    first.keep("lock 1", leave_out=("log",))
    second = cache(tmp_path, "two")
    assert (second.folder / "build" / "object").read_bytes() == b"x" * 5000
    assert (second.folder / "build" / "object").stat().st_mode & 0o100
    assert (second.folder / "link").readlink() == Path("build/object")
    assert not (second.folder / "log").exists()
    assert not list(cache(tmp_path, "three", owner="another").folder.iterdir())


def test_it_is_sent_again_only_when_what_counts_has_changed(tmp_path: Path) -> None:
    first = cache(tmp_path, "one")
    (first.folder / "a").write_text("a")
    first.keep("lock 1")
    (first.folder / "b").write_text("b")
    first.keep("lock 1")
    assert not (cache(tmp_path, "two").folder / "b").exists()
    first.keep("lock 2")
    assert (cache(tmp_path, "three").folder / "b").exists()


def test_a_damaged_one_is_an_empty_one(tmp_path: Path) -> None:
    first = cache(tmp_path, "one")
    (first.folder / "a").write_text("a" * 9000)
    first.keep("lock 1")
    [kept] = (tmp_path / "store" / "repo" / "caches").glob("*.zst")
    [record] = (tmp_path / "store" / "repo" / "caches").glob("*.json")
    for number, (path, damage) in enumerate(
        ((kept, kept.read_bytes()[:-40]), (kept, b"nothing of the kind"), (record, b"{}"), (record, b""))
    ):
        path.write_bytes(damage)
        again = cache(tmp_path, f"{number}-empty")
        assert not list(again.folder.iterdir())
        # It is sent again, though nothing that counts has changed.
        (again.folder / "a").write_text("a" * 9000)
        again.keep("lock 1")
        assert (cache(tmp_path, f"{number}-healed").folder / "a").exists()

"""Git LFS from servers on loopback: the batch API, and a storage that wants what its answer says and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidBuildFile, LambdasmithError, LfsMissing, OutOfTime, SourceUnreachable
from builder.sources.git import GitCredentials, Network, Snapshot, fetch, resolve
from builder.sources.lfs import Pointer, parse_pointer
from builder.sources.local import add_reasons, select_files
from builder.spec.tree import check_against_tree
from tests.sources.forge import HANGS_UP, MINE, TOKEN, Answer, Front, Host, git
from tests.spec.reading import read_build_file

Behaviour = Callable[[str, dict[str, str]], "Answer | None"]
LOADING = "key-of-the-object-store"
MODEL = bytes(range(256)) * 5000


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@dataclass
class Storage:
    """An LFS server beside a git server: `objects` by sha256, kept on an origin of its own.

    `instead` is the answer to all questions where files are, of which there were `asked`, `trouble` that to the first
    `troubles` of them; `rows` changes what the answer says of an object.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    instead: Answer | None = None
    trouble: Answer | None = None
    troubles: int = 0
    asked: int = 0
    forge: Front = None  # type: ignore[assignment]
    storage: Front = None  # type: ignore[assignment]

    def batch(self, path: str, headers: dict[str, str]) -> Answer | None:
        if not path.endswith("/info/lfs/objects/batch"):
            return None
        self.asked += 1
        if self.trouble and self.asked <= self.troubles:
            return self.trouble
        if self.instead:
            return self.instead
        asked = json.loads(self.forge.bodies[-1])
        self.batches.append(asked)
        rows = [self.rows.get(each["oid"]) or self.row(each["oid"], each["size"]) for each in asked["objects"]]
        return 200, {"Content-Type": "application/vnd.git-lfs+json"}, json.dumps({"objects": rows}).encode()

    def row(self, oid: str, size: int) -> dict[str, Any]:
        if oid not in self.objects:
            return {"oid": oid, "size": size, "error": {"code": 404, "message": "Object does not exist"}}
        action = {"href": f"{self.storage.url}/{oid}", "header": {"X-Key": LOADING}, "expires_in": 60}
        return {"oid": oid, "size": size, "actions": {"download": action}}

    def load(self, path: str, headers: dict[str, str]) -> Answer:
        if headers.get("x-key") != LOADING:
            return 403, {}, b""
        return 200, {"Content-Type": "application/octet-stream"}, self.objects[path.strip("/")]

    def add(self, content: bytes) -> str:
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return oid


@pytest.fixture
def lfs(host: Host) -> Iterator[Storage]:
    made = Storage()
    with Front(made.batch, host.private) as made.forge, Front(made.load, "") as made.storage:
        yield made


def fetched(lfs: Storage, into: Path, name: str, **more: Any) -> Snapshot:
    url = f"{lfs.forge.url}/{name}.git"
    mine = [GitCredentials(username="me", token=TOKEN, base=lfs.forge.url)]
    return fetch(resolve(url, None, credentials=mine), into, credentials=mine, **more)


def test_files_come_with_their_content_mode_and_time(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    tool = b"#!/bin/sh\n"
    (work.directory / "tool").write_text(pointer(tool))
    (work.directory / "tool").chmod(0o755)
    work.commit({"models/a.bin": pointer(MODEL), "models/again.bin": pointer(MODEL), "app.py": "x = 1\n"})
    lfs.add(MODEL)
    lfs.add(tool)
    snapshot = fetched(lfs, tmp_path / "into", "lfs")
    assert (snapshot.lfs_pointers, snapshot.warnings) == ((), ())
    for name in ("a.bin", "again.bin"):
        path = snapshot.root / "models" / name
        assert path.read_bytes() == MODEL
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime) == (0o644, 1700000123)
    assert (snapshot.root / "models/a.bin").stat().st_ino != (snapshot.root / "models/again.bin").stat().st_ino
    assert stat.S_IMODE((snapshot.root / "tool").stat().st_mode) == 0o755
    assert snapshot.tree == git(work.directory, "rev-parse", "HEAD^{tree}"), "the tree is that of the pointers"
    (batch,) = lfs.batches
    assert (batch["operation"], batch["transfers"], batch["ref"]) == (
        "download",
        ["basic"],
        {"name": "refs/heads/trunk"},
    )
    assert len(batch["objects"]) == len(lfs.storage.asked) == 2, "each content once"
    assert "authorization" in next(headers for path, headers in lfs.forge.asked if "lfs/objects" in path)
    assert not any("authorization" in headers or TOKEN in str(headers) for _, headers in lfs.storage.asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "work-lfs"]


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="needs git-lfs: apt-get install git-lfs")
def test_pointers_that_git_lfs_itself_has_made(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "real")
    git(work.directory, "lfs", "install", "--local", "--skip-repo")
    git(work.directory, "lfs", "track", "*.bin")
    (work.directory / "m.bin").write_bytes(MODEL)
    work.push()
    assert git(work.directory, "cat-file", "-s", "HEAD:m.bin") != str(len(MODEL))
    stored = [path for path in (work.directory / ".git/lfs/objects").rglob("*") if path.is_file()]
    assert [lfs.add(path.read_bytes()) for path in stored] == [path.name for path in stored]
    assert (fetched(lfs, tmp_path / "into", "real").root / "m.bin").read_bytes() == MODEL


def test_what_cannot_be_had_stays_a_pointer_says_why_and_is_not_shipped(
    host: Host, lfs: Storage, tmp_path: Path
) -> None:
    work, _ = host.work(tmp_path, "lfs")
    lies, short, there = b"what was committed", b"longer than what comes", b"there"
    work.commit(
        {
            "gone.bin": pointer(b"gone"),
            "lies.bin": pointer(lies),
            "short.bin": pointer(short),
            "there.bin": pointer(there),
            "odd.bin": "version https://git-lfs.github.com/spec/v1\noid md5:1\nsize 1\n",
            "nowhere.bin": pointer(b"nowhere"),
        }
    )
    lfs.add(there)
    lfs.objects[lfs.add(lies)] = b"what was damaged !"
    lfs.objects[lfs.add(short)] = b"short"
    nowhere = hashlib.sha256(b"nowhere").hexdigest()
    lfs.rows[nowhere] = {"oid": nowhere, "actions": {"download": {"href": "http://169.254.169.254/latest"}}}
    snapshot = fetched(lfs, tmp_path / "into", "lfs")
    assert snapshot.lfs_pointers == ("gone.bin", "lies.bin", "nowhere.bin", "odd.bin", "short.bin")
    said = dict(zip(snapshot.lfs_pointers, snapshot.warnings, strict=True))
    assert "404 'Object does not exist'" in said["gone.bin"]
    assert "not the file that was committed" in said["lies.bin"]
    assert "not the file that was committed" in said["short.bin"]
    assert "not encrypted" in said["nowhere.bin"]
    assert "damaged" in said["odd.bin"]
    assert (snapshot.root / "there.bin").read_bytes() == there
    assert (snapshot.root / "lies.bin").read_text() == pointer(lies)
    assert select_files(snapshot.root, ".", ["there.bin"], [])
    with pytest.raises(LambdasmithError, match=r"lies\.bin: is a Git LFS pointer.*short\.bin"):
        select_files(snapshot.root, ".", ["lies.bin", "short.bin"], [])


BUILD_FILE = """\
function:
  runtimes: [python3.13]
  handler: app.handler
  files: [app.py, models/]
layers:
  data:
    runtimes: [python3.13]
    files: [data.bin]
"""


def test_a_build_that_needs_it_says_why_it_is_missing(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    files = {"models/m.bin": pointer(b"gone"), "data.bin": pointer(b"data"), "unused.bin": pointer(b"unused")}
    work.commit({"build.yaml": BUILD_FILE, "app.py": "def handler(event, context): ...\n", **files})
    lfs.rows[hashlib.sha256(b"data").hexdigest()] = {"oid": hashlib.sha256(b"data").hexdigest(), "actions": {}}
    snapshot = fetched(lfs, tmp_path / "into", "lfs")
    spec = read_build_file(BUILD_FILE, file="build.yaml")
    with pytest.raises(LfsMissing) as caught:
        check_against_tree(spec, snapshot.root)
    add_reasons(caught.value, snapshot.root, snapshot.lfs_reasons)
    assert caught.value.problems == (
        "build.yaml:8: layers.data.files.0: data.bin: is a Git LFS pointer: the LFS server does not say where it is",
        "build.yaml:4: function.files.1: models/m.bin: is a Git LFS pointer: the LFS server does not have it "
        "(404 'Object does not exist')",
    )
    assert str(caught.value) == caught.value.message == "; ".join(caught.value.problems)
    assert caught.value.code == "lfs_missing"
    assert "git lfs push" in caught.value.hint
    # What else is wrong is wrong with the build file, and comes first.
    (snapshot.root / "app.py").unlink()
    with pytest.raises(InvalidBuildFile, match=r"app\.py") as other:
        check_against_tree(spec, snapshot.root)
    assert "LFS" not in other.value.message


def test_a_repository_with_a_new_name_has_its_files_there(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.add(MODEL)

    def renamed(path: str, headers: dict[str, str]) -> Answer | None:
        if not path.startswith("/old.git"):
            return lfs.batch(path, headers)
        if "/info/lfs" in path:  # as Gitea
            return 404, {}, b""
        return 301, {"Location": path.replace("/old", "/lfs", 1)}, b""

    lfs.forge.behave = renamed
    assert (fetched(lfs, tmp_path / "into", "old").root / "m.bin").read_bytes() == MODEL


def test_files_that_do_not_fit_are_left(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"large.bin": pointer(MODEL), "small.bin": pointer(b"small")})
    lfs.add(MODEL)
    lfs.add(b"small")
    snapshot = fetched(lfs, tmp_path / "into", "lfs", max_bytes=100_000)
    assert snapshot.lfs_pointers == ("large.bin",)
    assert "1.3 MB are more than there is room for" in snapshot.warnings[0]
    assert (snapshot.root / "small.bin").read_bytes() == b"small"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, {}, b""), "answers 404"),
        ((401, {}, b""), "refuses the builder's git token (401); renew git_token"),
        ((403, {}, b""), "refuses the builder's git token (403)"),
        ((200, {}, b"<html>"), "not that of the batch API"),
        ((200, {}, b"[]"), "not that of the batch API"),
        ((200, {}, b'{"transfer": "tus", "objects": []}'), "with basic transfers"),
        ((200, {}, b'{"objects": [{}, 7, {"oid": "x", "actions": 3}]}'), "says nothing about it"),
    ],
)
def test_a_forge_without_lfs_is_told(host: Host, lfs: Storage, tmp_path: Path, answer: Answer, words: str) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.instead = answer
    snapshot = fetched(lfs, tmp_path / "into", "lfs")
    assert words in snapshot.warnings[0]
    assert snapshot.lfs_pointers == ("m.bin",)


def after(times: int, trouble: Answer, then: Behaviour) -> Behaviour:
    """Trouble at first."""
    left = [times]

    def behave(path: str, headers: dict[str, str]) -> Answer | None:
        left[0] -= 1
        return trouble if left[0] >= 0 else then(path, headers)

    return behave


@pytest.mark.parametrize(
    "trouble",
    [
        (503, {}, b""),
        (500, {}, b""),
        (429, {}, b""),
        HANGS_UP,
        (200, {"Content-Length": str(len(MODEL))}, MODEL[:5000]),
    ],
    ids=["503", "500", "429", "hangs-up", "cut"],
)
def test_trouble_of_the_server_may_pass(host: Host, lfs: Storage, tmp_path: Path, trouble: Answer) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.add(MODEL)
    lfs.trouble, lfs.troubles = trouble, 2
    lfs.storage.behave = after(2, trouble, lfs.load)
    assert (fetched(lfs, tmp_path / "into", "lfs").root / "m.bin").read_bytes() == MODEL
    assert lfs.asked == len(lfs.storage.asked) == 3


def test_trouble_that_stays_is_an_error_to_try_again(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.instead = (503, {}, b"")
    with pytest.raises(SourceUnreachable, match=r"answers 503 \(tried 5 times") as caught:
        fetched(lfs, tmp_path / "into", "lfs")
    assert caught.value.retryable
    assert lfs.asked == 5, "the fetch around it is not tried again, too"


def test_a_download_that_breaks_off_every_time_does_not_tell_where_from(
    host: Host, lfs: Storage, tmp_path: Path
) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.add(MODEL)
    lfs.storage.behave = lambda path, headers: (200, {"Content-Length": str(len(MODEL))}, MODEL[:5000])
    with pytest.raises(
        SourceUnreachable, match=r"an LFS file could not be downloaded.*broke off after 5,000"
    ) as caught:
        fetched(lfs, tmp_path / "none", "lfs")
    assert LOADING not in f"{caught.value}{caught.value.__cause__}"
    assert next(iter(lfs.objects)) not in caught.value.message


def test_silence_near_the_time_limit_is_out_of_time(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.add(MODEL)
    end = float("inf")

    def silent(path: str, headers: dict[str, str]) -> Answer:
        nonlocal end
        end = time.monotonic() + 0.3

        def pieces() -> Iterator[bytes]:
            yield MODEL[:5000]
            time.sleep(1.5)

        return 200, {"Content-Length": str(len(MODEL))}, pieces()

    lfs.storage.behave = silent
    with pytest.raises(OutOfTime):
        fetched(lfs, tmp_path / "none", "lfs", network=Network(remaining=lambda: end - time.monotonic()))
    assert time.monotonic() - end < 1


def test_a_server_of_its_own_in_lfsconfig_must_be_allowed(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL), ".lfsconfig": f"[lfs]\n\turl = {lfs.forge.url}/other.git/info/lfs\n"})
    lfs.add(MODEL)
    snapshot = fetch(resolve(url, None), tmp_path / "refused")
    assert ".lfsconfig names a server that is not an allowed host" in snapshot.warnings[0]
    allowed = Network(allowed_hosts=(lfs.forge.url.removeprefix("http://"),))
    snapshot = fetch(resolve(url, None), tmp_path / "into", network=allowed, credentials=[MINE_THERE(host)])
    assert (snapshot.root / "m.bin").read_bytes() == MODEL
    assert not any("authorization" in headers for _, headers in lfs.forge.asked), "the token belongs elsewhere"


def MINE_THERE(host: Host) -> GitCredentials:
    return GitCredentials(username=MINE.username, token=MINE.token, base=host.public)


def test_a_warm_environment_has_them_and_checks_them(host: Host, lfs: Storage, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "lfs")
    work.commit({"m.bin": pointer(MODEL)})
    lfs.add(MODEL)
    cache = tmp_path / "cache"
    cache.mkdir()
    first = fetched(lfs, tmp_path / "one", "lfs", cache=cache)
    assert len(lfs.storage.asked) == 1
    assert (fetched(lfs, tmp_path / "two", "lfs", cache=cache).root / "m.bin").read_bytes() == MODEL
    assert len(lfs.storage.asked) == 1
    # What the cache and a checkout share, a build may have written to.
    (tmp_path / "two/m.bin").write_bytes(b"scribbled")
    assert (fetched(lfs, tmp_path / "three", "lfs", cache=cache).root / "m.bin").read_bytes() == MODEL
    assert len(lfs.storage.asked) == 2
    assert first.lfs_pointers == ()


@given(st.binary(max_size=200), st.integers(0, 10**18))
def test_pointers_are_read_and_nothing_else_is(content: bytes, size: int) -> None:
    made = parse_pointer(pointer(content).encode())
    assert made == Pointer(oid=hashlib.sha256(content).hexdigest(), size=len(content))
    assert parse_pointer(content) is None
    odd = parse_pointer(pointer(b"").replace("size 0", f"size {size}").encode())
    assert odd is None or odd.size == size

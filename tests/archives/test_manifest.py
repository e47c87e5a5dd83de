"""Projects as a manifest that holds files or names them: the same tree as from an archive, or a reason."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.archives.archived import Limits
from builder.errors import LambdasmithError, OutOfSpace, PathNotFound, SourceError, UnsafeSource
from builder.sources.archive import snapshot_of
from builder.sources.git import Snapshot
from builder.sources.manifest import Content, parse, snapshot_of_manifest
from tests.archives import making
from tests.archives.making import FILE

FILES = {
    "app.py": b"print(1)\n",
    "bin/run": b"#!/bin/sh\n",
    "caf\u00e9/a b.txt": b"",
    "large": bytes(range(256)) * 9000,
}


def manifest(files: Mapping[str, bytes], **more: object) -> dict[str, Any]:
    return {"files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}, **more}


def held(files: Mapping[str, bytes], **more: object) -> dict[str, Any]:
    """The manifest that has all content in itself."""
    return {"files": {name: as_json(content) for name, content in files.items()}, **more}


def as_json(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def unpacked(said: object, files: Mapping[str, bytes], into: Path, limits: Limits | None = None) -> Snapshot:
    """The snapshot; files are read in chunks, as S3 gives large ones."""

    beside = {hashlib.sha256(content).hexdigest(): content for content in files.values()}

    def read(sha256: str) -> Content:
        if sha256 not in beside:
            raise PathNotFound(f"{sha256} does not exist")
        content = beside[sha256]
        size = 1 << 20
        return Content(
            size=len(content),
            chunks=lambda: (content[start : start + size] for start in range(0, len(content), size)),
        )

    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return snapshot_of_manifest(parse(text, label="m"), read, into, limits=limits, label="m")


MIXED = {"files": {**manifest(FILES)["files"], **held({"app.py": FILES["app.py"]})["files"]}, "executable": ["bin/run"]}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(manifest(FILES, executable=["bin/run"]), id="named"),
        pytest.param(held(FILES, executable=["bin/run"]), id="held"),
        pytest.param(MIXED, id="mixed"),
        pytest.param(gzip.compress(json.dumps(MIXED).encode()), id="compressed"),
    ],
)
def test_the_tree_is_that_of_an_archive_with_the_same_files(said: object, tmp_path: Path) -> None:
    made = unpacked(said, FILES, tmp_path / "one")
    archive = tmp_path / "a.zip"
    archive.write_bytes(
        making.with_zipfile(
            {name: (content, 0o100755 if name == "bin/run" else FILE) for name, content in FILES.items()}
        )
    )
    assert made.tree == snapshot_of(archive, tmp_path / "other").tree
    assert (tmp_path / "one" / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert made.files == len(FILES)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        pytest.param(b"{", SourceError, "m: is not JSON", id="no JSON"),
        pytest.param([], SourceError, "must be a JSON object", id="no object"),
        pytest.param({"files": {"a": "1"}}, SourceError, "a: is not followed by a sha256", id="no hash"),
        pytest.param({"files": {}, "exec": []}, SourceError, "unknown key", id="unknown key"),
        pytest.param(manifest({"a": b""}, executable=["b"]), SourceError, "not one of the files", id="executable"),
        pytest.param(manifest({"../a": b""}), UnsafeSource, "../a", id="climbs"),
        pytest.param(manifest({"/a": b""}), UnsafeSource, "/a", id="absolute"),
        pytest.param({"files": {"a": {}}}, SourceError, 'a: must have its sha256, {"text": …}', id="nothing"),
        pytest.param({"files": {"a": {"text": "", "base64": ""}}}, SourceError, "a: must have", id="both"),
        pytest.param({"files": {"a": {"base64": "ü"}}}, SourceError, "a: must have", id="no base64"),
        pytest.param({"files": {"a": {"text": "\ud800"}}}, SourceError, "a: must have", id="lone surrogate"),
        pytest.param(held({"../a": b""}), UnsafeSource, "../a", id="held and climbs"),
        pytest.param(b"\x1f\x8b rest", SourceError, "m: is damaged", id="damaged"),
        pytest.param(gzip.compress(b"{}")[:-4], SourceError, "m: is cut off", id="cut off"),
        pytest.param(gzip.compress(bytes(65 << 20)), SourceError, "m: is larger than the 67.1 MB", id="bomb"),
        pytest.param(manifest({"a": b"1", "A": b""}), UnsafeSource, "differ only in case", id="case"),
        pytest.param(manifest({"missing": b"none"}), PathNotFound, "does not exist", id="missing"),
        pytest.param(manifest({"a": b"1", "a/b": b""}), UnsafeSource, "lies below", id="below a file"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(said: object, kind: type, words: str, tmp_path: Path) -> None:
    with pytest.raises(LambdasmithError) as caught:
        unpacked(said, {"a": b"1", "A": b"", "a/b": b"", "../a": b"", "/a": b""}, tmp_path / "into")
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert not (tmp_path / "into").exists()


def test_other_content_under_the_same_name_is_refused(tmp_path: Path) -> None:
    other = Content(size=5, chunks=lambda: iter([b"other"]))
    said = json.dumps(manifest(FILES)).encode()
    with pytest.raises(SourceError, match=r"app\.py is not the file that the manifest names"):
        snapshot_of_manifest(parse(said, label="m"), lambda _: other, tmp_path / "into", label="m")
    assert not (tmp_path / "into").exists()


def test_a_manifest_with_another_hash_than_was_sent_is_refused() -> None:
    text = json.dumps(held(FILES)).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    assert parse(gzip.compress(text), label="m", sha256=sha256) == parse(text, label="m")
    with pytest.raises(SourceError, match="m: is not the manifest that was sent: its sha256 is"):
        parse(json.dumps(held({})).encode(), label="m", sha256=sha256)


def test_limits_hold(tmp_path: Path) -> None:
    for limits in (Limits(max_bytes=1000), Limits(max_file_bytes=1000), Limits(max_entries=2)):
        with pytest.raises(OutOfSpace):
            unpacked(manifest(FILES), FILES, tmp_path / "into", limits)
        with pytest.raises(OutOfSpace):
            unpacked(held(FILES), FILES, tmp_path / "into", limits)


NAMES = st.text(st.sampled_from("ab/.\u00e9A\\ \n"), max_size=8) | st.just(".git/config")


@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=6), st.data())
def test_any_names_are_files_below_or_an_explained_refusal(files: dict[str, bytes], data: st.DataObject) -> None:
    executable = data.draw(st.lists(st.sampled_from(sorted(files)), unique=True)) if files else []
    with tempfile.TemporaryDirectory() as around:
        into = Path(around) / "into"
        with contextlib.suppress(LambdasmithError):
            unpacked(data.draw(st.sampled_from([manifest, held]))(files, executable=executable), files, into)
            found = {path.relative_to(into).as_posix(): path.read_bytes() for path in into.rglob("*") if path.is_file()}
            assert sorted(found.values()) == sorted(files.values())
        assert [path.name for path in Path(around).iterdir()] in ([], ["into"])


KEYS = st.sampled_from(["files", "executable", "a", "text", "base64"])
JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_manifest_or_an_explained_refusal(said: object) -> None:
    with contextlib.suppress(LambdasmithError):
        parse(json.dumps(said).encode(), label="m")

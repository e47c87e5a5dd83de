"""What is said to be unchanged is unchanged, and what is needed is enough: compared with making it from all files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import LambdasmithError
from builder.making.own_files import own_files
from builder.making.project import read_project
from builder.making.reads import Source, needed, on_disk, reads_of, still_holds
from builder.python.inputs import read_inputs
from builder.sources.snapshot import Snapshot
from builder.sources.treeid import ids_of
from builder.spec.members import read_functions

FILES = {
    "fn/a/app.py": "A = 1\n",
    "fn/a/data/one.json": "1\n",
    "fn/a/data/deep/two.json": "2\n",
    "fn/b/app.py": "B = 1\n",
    "shared/util.py": "U = 1\n",
    "shared/pkg/__init__.py": "",
    "shared/pkg/more.py": "M = 1\n",
    "requirements.txt": "-r req/base.txt\n-c req/limits.txt\n",
    "req/base.txt": "idna\n",
    "req/limits.txt": "idna<4\n",
    "app.py": "ROOT = 1\n",
    "README.md": "words\n",
}
# Places that may be there after a change, besides those above.
NEW = (
    "fn/a/requirements.txt",
    "fn/a/data/new.json",
    "fn/a/new.py",
    "shared/new.py",
    "req/new.txt",
    "shared/pkg/d/x.py",
)
_OWN = st.sampled_from(
    [
        "app.py",
        "'*.py'",
        "'**/*.py'",
        "data/",
        "'data/*.json'",
        "'data/**/*.json'",
        "{from: ../../shared/util.py, to: u.py}",
    ]
)
_FROM = st.sampled_from(["{from: ../../shared/pkg, to: pkg}", "{from: ../../README.md, to: docs/r.md}"])
_FUNCTION = st.builds(
    lambda files, source, exclude, more, layers: ", ".join(
        [
            f"source_dir: {source}",
            *(
                [f"files: [{', '.join(dict.fromkeys([*files, *more]))}]"]
                if source == "fn/a" and (files or more)
                else []
            ),
            *(["exclude: ['*.json']"] if exclude else []),
            *([] if layers else ["layers: []"]),
        ]
    ),
    st.lists(_OWN, max_size=3),
    st.sampled_from(["fn/a", "fn/a", "fn", "."]),
    st.booleans(),
    st.lists(_FROM, max_size=1),
    st.booleans(),
)
_LAYER = st.sampled_from(
    [
        "{files: [shared/], dest_dir: python}",
        "{source_dir: shared, files: ['*.py']}",
        "{files: [shared/pkg], dest_dir: x}",
    ]
)
_TEXTS = st.builds(
    lambda one, layer, lock: (
        "defaults: {runtimes: [python3.13], handler: app.handler}\n"
        f"functions:\n  one: {{{one}}}\n  two: {{source_dir: fn/b}}\n"
        f"layers:\n  common: {layer}\n" + ("  dependencies: [requirements.txt]\n" if lock else "")
    ),
    _FUNCTION,
    _LAYER,
    st.booleans(),
)
_PLACES = st.sampled_from([*FILES, *NEW, "fn/a/data", "fn/a", "shared", "shared/pkg", "req"])


def _write(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path /= "added.py"
    if path.parent.is_dir():
        path.unlink(missing_ok=True)
    if all(place.is_dir() or not place.exists() for place in path.parents):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("idna>=3\n")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _execute(path: Path) -> None:
    if path.is_file():
        path.chmod(0o755)


def _link(path: Path) -> None:
    """Replace it with a link to something that is there."""
    target = path.parent.parent / "fn" / "b"
    _remove(path)
    if path.parent.is_dir():
        path.symlink_to(os.path.relpath(target if target.is_dir() else path.parent, path.parent))


def _move(path: Path) -> None:
    if path.exists():
        path.rename(path.with_name(f"moved-{path.name}"))


_CHANGES = st.lists(
    st.tuples(st.sampled_from([_write, _remove, _execute, _link, _move]), _PLACES), min_size=1, max_size=3
)
Changes = list[tuple[Callable[[Path], None], str]]


def _snapshot(root: Path) -> Snapshot:
    ids = ids_of(root)
    return Snapshot(
        root=root,
        url="",
        ref="",
        commit="",
        tree=ids.whole,
        subtree="",
        commit_time=0,
        ids=ids.below,
        links=frozenset(ids.links),
        executables=frozenset(ids.executables),
    )


def _made_of(root: Path, key: str) -> object:
    """All of the project that gets into a function, its layers and its lock; or the error."""
    try:
        project = read_project(root, None, commit_time=0, repository=root, key=key)
        parts = ["function", *(layer.name for layer in project.spec.layers)]
        files = {
            (part, place): (path.read_bytes(), path.stat().st_mode & 0o100)
            for part in parts
            for place, path in own_files(project, part)
        }
        entries = project.spec.dependencies
        return files, repr(read_inputs(entries, root)) if entries else ""
    except LambdasmithError as error:
        return error.message


def _repository(root: Path, text: str) -> None:
    for name, content in {**FILES, "build.yaml": text}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@settings(max_examples=300)
@given(_TEXTS, _CHANGES)
def test_whoever_is_unchanged_would_be_made_of_the_same(text: str, changes: Changes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _repository(root, text)
        # What could not be made is not remembered.
        made = {key: _made_of(root, key) for key in ("one", "two")}
        before = {key: found for key, found in made.items() if isinstance(found, tuple)}
        specs = read_functions(text, file="build.yaml").functions
        known = {key: reads_of(specs[key], key, on_disk(_snapshot(root), "")) for key in before}
        for change, place in changes:
            change(root / place)
        after = _snapshot(root)
        for key, reads in known.items():
            if still_holds(reads, specs[key], key, after):
                assert _made_of(root, key) == before[key], key


def _copy(paths: Collection[str], root: Path, into: Path) -> None:
    for path in paths:
        source, target = root / path, into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, target, follow_symlinks=False)


@settings(max_examples=300)
@given(_TEXTS, _CHANGES)
def test_what_is_needed_is_enough(text: str, changes: Changes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, part = Path(folder) / "all", Path(folder) / "part"
        _repository(root, text)
        for change, place in changes:
            change(root / place)
        source = Source(snapshot=_snapshot(root), project="", read=lambda path: (root / path).read_bytes())
        for key in ("one", "two"):
            chosen = needed(source, build_file=None, stage="", parameters=(), words=[key], key="", known={})
            if chosen is not None:
                shutil.rmtree(part, ignore_errors=True)
                _copy(chosen, root, part)
                # An error is said again with all files at hand.
                if isinstance(found := _made_of(part, key), tuple):
                    assert found == _made_of(root, key)

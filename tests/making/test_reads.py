"""A function is left out of a deploy only where nothing that it is made of has changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builder.making.reads import Source, needed, on_disk, reads_of, still_holds, unchanged
from builder.sources.reads import Reads
from builder.sources.snapshot import Snapshot
from builder.sources.treeid import ids_of
from builder.spec.members import BuildFile, read_functions

BUILD_FILE = """
defaults: {runtimes: [python3.13]}
functions:
  api: {source_dir: functions/api, handler: app.handler}
  worker: {source_dir: functions/worker, files: [worker.py, data/*.json], handler: worker.run, layers: [common]}
  cron: {source_dir: functions/cron, handler: jobs.cron.run, layers: [], dependencies: [requirements/cron.txt]}
  local: {source_dir: functions/local, handler: app.run, layers: [], dependencies: [requirements/local.txt]}
  thumbs: {source_dir: go, build: go, runtimes: [provided.al2023], layers: []}
layers:
  common: {files: [shared.py], source_dir: shared, dest_dir: python}
stages: {prod: {functions: {api: {memory: 512}}}}
"""
FILES = {
    "functions/api/app.py": "",
    "functions/worker/worker.py": "",
    "functions/worker/data/one.json": "{}",
    "functions/worker/notes.txt": "",
    "functions/cron/jobs/cron.py": "",
    "functions/local/app.py": "",
    "shared/shared.py": "",
    "shared/other.py": "",
    "requirements/cron.txt": "-r more.txt\n",
    "requirements/more.txt": "idna\n",
    "requirements/local.txt": "./lib\n",
    "lib/pyproject.toml": "[project]\nname = 'lib'\nversion = '1'\n",
    "go/go.mod": "module example.com/thumbs\n",
    "go/main.go": "package main\n",
    "README.md": "",
}
Change = Callable[[Path], object]


def snapshot(root: Path) -> Snapshot:
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


def write(name: str, text: str = "changed\n") -> Change:
    def change(project: Path) -> None:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)

    return change


def functions(text: str = BUILD_FILE, stage: str = "") -> BuildFile:
    return read_functions(text, file="build.yaml", stage=stage)


def changed(root: Path, change: Change, *, place: str = "", after: BuildFile | None = None) -> set[str]:
    """The functions that are made of something else after a change of the project at `place` in the repository."""
    project = root / place
    for name, content in FILES.items():
        write(name, content)(project)
    before = on_disk(snapshot(root), place)
    known = {key: reads_of(spec, key, before) for key, spec in functions().functions.items()}
    assert unchanged(functions(), known, snapshot(root)) == [*known]
    change(project)
    file = after or functions()
    return {*file.functions} - {*unchanged(file, known, snapshot(root))}


def made_of(key: str, root: Path, text: str = BUILD_FILE) -> Reads:
    return reads_of(functions(text).functions[key], key, on_disk(snapshot(root), ""))


# What Go reads of a repository only Go knows.
ALWAYS = {"thumbs"}


@pytest.mark.parametrize("place", ["", "services/shop"])
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (write("README.md"), set[str]()),
        (write("functions/api/app.py"), {"api"}),
        (write("functions/api/more/new.py"), {"api"}),
        (write("functions/api/requirements.txt", "idna\n"), {"api"}),
        (write("functions/worker/worker.py"), {"worker"}),
        (write("functions/worker/notes.txt"), set()),
        (write("functions/worker/data/two.json", "{}"), {"worker"}),
        (write("functions/worker/requirements.txt", "idna\n"), {"worker"}),
        (write("functions/cron/jobs/requirements.txt", "idna\n"), {"cron"}),
        (write("shared/shared.py"), {"api", "worker"}),
        (lambda project: (project / "shared/shared.py").chmod(0o755), {"api", "worker"}),
        (write("shared/other.py"), set()),
        (write("requirements/more.txt"), {"cron"}),
        (write("requirements/cron.txt", "idna\n"), {"cron"}),
        (write("lib/module.py"), {"local"}),
        (write("requirements/local.txt", "idna\n"), {"local"}),
    ],
    ids=lambda value: "-".join(sorted(value)) or "none" if isinstance(value, set) else "change",
)
def test_only_what_a_function_is_made_of_counts(tmp_path: Path, place: str, change: Change, wanted: set[str]) -> None:
    assert changed(tmp_path, change, place=place) - ALWAYS == wanted


def test_what_is_not_known_exactly_counts_whole(tmp_path: Path) -> None:
    assert changed(tmp_path, write("README.md")) == ALWAYS


def test_the_build_file_counts_by_what_it_says_of_a_function(tmp_path: Path) -> None:
    nothing = write("README.md", "")
    assert changed(tmp_path, nothing, after=functions("# a comment\n\n" + BUILD_FILE)) == set()
    assert changed(tmp_path, nothing, after=functions(BUILD_FILE.replace("[python3.13]}", "[python3.13], timeout: 9}")))
    longer = functions(BUILD_FILE.replace("handler: app.handler", "handler: app.handler, timeout: 9"))
    assert changed(tmp_path, nothing, after=longer) == {"api"}
    assert "api" in changed(tmp_path, nothing, after=functions(stage="prod"))
    renamed = functions(BUILD_FILE.replace("  common:", "  usual:").replace("[common]", "[usual]"))
    assert changed(tmp_path, nothing, after=renamed) == {"api", "worker"}


def test_a_link_counts_as_everything_since_its_target_may_change(tmp_path: Path) -> None:
    for name, content in FILES.items():
        write(name, content)(tmp_path)
    (tmp_path / "functions/api/shared").symlink_to("../../shared")
    known = made_of("api", tmp_path)
    assert known.paths == ("",)
    assert "" not in made_of("cron", tmp_path).paths
    write("shared/other.py")(tmp_path)
    assert not still_holds(known, functions().functions["api"], "api", snapshot(tmp_path))


def test_files_of_a_submodule_count_as_everything(tmp_path: Path) -> None:
    for name, content in FILES.items():
        write(name, content)(tmp_path)
    with_submodule = replace(snapshot(tmp_path), gitlinks=frozenset({"functions/api"}))
    spec = functions().functions["api"]
    assert reads_of(spec, "api", on_disk(with_submodule, "")).paths == ("",)


def test_files_of_a_submodule_below_count_as_everything(tmp_path: Path) -> None:
    """Its id says which commit is meant, .gitmodules whether that is there, and a link in it may lead out of it."""
    for name, content in FILES.items():
        write(name, content)(tmp_path)
    with_submodule = replace(snapshot(tmp_path), gitlinks=frozenset({"functions/api/vendor", "shared/other"}))
    specs = functions().functions
    assert reads_of(specs["api"], "api", on_disk(with_submodule, "")).paths == ("",)
    assert "" not in reads_of(specs["worker"], "worker", on_disk(with_submodule, "")).paths


@pytest.mark.parametrize("kind", ["link", "submodule"])
def test_a_new_way_to_what_was_not_there_is_a_change(tmp_path: Path, kind: str) -> None:
    """A local path may mean two places: the one that was not there has no id, also when a link leads to it."""
    for name, content in {**FILES, "requirements/local.txt": "./at/lib\n", "at/lib/setup.py": ""}.items():
        write(name, content)(tmp_path)
    spec, known = functions().functions["local"], made_of("local", tmp_path)
    assert {"requirements/at/lib", "at/lib"} <= {*known.paths}
    assert still_holds(known, spec, "local", snapshot(tmp_path))
    (tmp_path / "requirements/at").symlink_to("../other")
    now = snapshot(tmp_path)
    if kind == "submodule":
        now = replace(now, links=frozenset(), gitlinks=now.links)
    assert not still_holds(known, spec, "local", now)


def test_a_function_under_another_name_is_another_function(tmp_path: Path) -> None:
    for name, content in FILES.items():
        write(name, content)(tmp_path)
    known, spec = made_of("api", tmp_path), functions().functions["api"]
    assert still_holds(known, spec, "api", snapshot(tmp_path))
    assert not still_holds(known, spec, "shop-api", snapshot(tmp_path))


def chosen(
    root: Path, *words: str, key: str = "", known: Mapping[str, Reads] | None = None, text: str = BUILD_FILE
) -> Collection[str] | None:
    """What has to be written of a project whose files are nowhere but in its repository."""
    files = {name: content.encode() for name, content in {**FILES, "build.yaml": text}.items()}
    for name, content in files.items():
        write(name, content.decode())(root)
    source = Source(snapshot=replace(snapshot(root), root=root / "nowhere"), project="", read=files.__getitem__)
    return needed(source, build_file=None, stage="", parameters=(), words=words, key=key, known=known or {})


def test_only_what_is_needed_is_written(tmp_path: Path) -> None:
    assert chosen(tmp_path, key="api") == {
        *("build.yaml", "functions/api", "functions/api/requirements.txt", "shared/shared.py"),
    }
    assert chosen(tmp_path, "cron") == {
        "build.yaml",
        "functions/cron",
        "requirements/cron.txt",
        "requirements/more.txt",
    }
    assert {"requirements/lib", "lib"} <= {*(chosen(tmp_path, "local") or ())}
    assert chosen(tmp_path) is None, "no one knows what Go reads"
    small = "function: {runtimes: [python3.13], source_dir: functions/api, handler: app.handler}\n"
    assert chosen(tmp_path, text=small) == {"build.yaml", "functions/api"}


def test_a_function_may_be_named_as_lambda_calls_it(tmp_path: Path) -> None:
    """Two that share a directory: one lists its files, the other has all of it."""
    text = (
        "defaults: {runtimes: [python3.13], name: 'shop-{name}', source_dir: functions/worker}\n"
        "functions:\n  one: {files: [worker.py], handler: worker.run}\n  two: {handler: worker.run}\n"
    )
    both = chosen(tmp_path, "one", "shop-two", text=text)
    assert both is not None
    assert "functions/worker" in both
    assert "functions/worker" not in (chosen(tmp_path, "one", text=text) or ())


def test_requirements_of_a_layer_and_of_the_function_both_count(tmp_path: Path) -> None:
    spec = (
        functions()
        .functions["cron"]
        .model_copy(update={"says_dependencies": False, "adds_own": True, "own_files": ("requirements.txt",)})
    )
    for name, content in {**FILES, "functions/cron/requirements.txt": "idna\n"}.items():
        write(name, content)(tmp_path)
    paths = reads_of(spec, "cron", on_disk(snapshot(tmp_path), "")).paths
    assert {"functions/cron/requirements.txt", "requirements/cron.txt", "requirements/more.txt"} <= {*paths}


def test_what_stands_is_not_written(tmp_path: Path) -> None:
    text = "\n".join(line for line in BUILD_FILE.splitlines() if "thumbs" not in line)
    assert chosen(tmp_path, text=text)
    known = {key: made_of(key, tmp_path, text) for key in functions(text).functions}
    assert chosen(tmp_path, known=known, text=text) == {"build.yaml"}
    del known["worker"]
    wanted = chosen(tmp_path, known=known, text=text)
    assert wanted is not None
    assert "shared/shared.py" in wanted
    assert "functions/api" not in wanted


@pytest.mark.parametrize("text", ["function: [", "functions: {}\n", "function: {runtimes: [python3.13], build: go}\n"])
def test_where_the_build_file_is_wrong_everything_is_written(tmp_path: Path, text: str) -> None:
    assert chosen(tmp_path, text=text) is None

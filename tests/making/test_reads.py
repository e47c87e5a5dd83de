"""A function is left out of a deploy only where nothing that it is made of has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.making.reads import reads_of, still_holds
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
    before = snapshot(root)
    known = {key: reads_of(spec, before, place) for key, spec in functions().functions.items()}
    assert all(still_holds(known[key], spec, snapshot(root)) for key, spec in functions().functions.items())
    change(project)
    now = snapshot(root)
    specs = (after or functions()).functions
    return {key for key in specs if key not in known or not still_holds(known[key], specs[key], now)}


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
    specs, before = functions().functions, snapshot(tmp_path)
    assert reads_of(specs["api"], before, "").paths == ("",)
    assert "" not in reads_of(specs["cron"], before, "").paths
    known = reads_of(specs["api"], before, "")
    write("shared/other.py")(tmp_path)
    assert not still_holds(known, specs["api"], snapshot(tmp_path))


def test_files_of_a_submodule_count_as_everything(tmp_path: Path) -> None:
    for name, content in FILES.items():
        write(name, content)(tmp_path)
    whole = snapshot(tmp_path)
    # A submodule has the id of its commit, and what is in it has none.
    inside = {path: sha for path, sha in whole.ids.items() if not path.startswith("functions/api/")}
    with_submodule = Snapshot(
        root=tmp_path, url="", ref="", commit="", tree=whole.tree, subtree="", commit_time=0, ids=inside
    )
    text = BUILD_FILE.replace("{source_dir: functions/api,", "{source_dir: functions/api, files: [app.py],")
    assert reads_of(functions(text).functions["api"], with_submodule, "").paths == ("",)

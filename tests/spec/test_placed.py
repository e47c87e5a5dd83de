"""Files that get another place in the zip, from anywhere in the repository and never from outside of it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import ArtifactConflict, InvalidBuildFile
from builder.making.own_files import own_files
from builder.making.project import Project, read_project
from builder.making.reads import on_disk, reads_of, still_holds
from builder.sources.snapshot import Snapshot
from builder.sources.treeid import ids_of
from builder.spec.members import read_functions

FILES = {
    "services/api/app.py": "def h(e, c): ...\n",
    "services/api/data/a.txt": "a\n",
    "shared/util.py": "W = 1\n",
    "shared/words/one.txt": "1\n",
    "shared/words/deep/two.txt": "2\n",
    "secret.txt": "s\n",
}


def repository(top: Path, files: str, layers: str = "") -> Path:
    """A project in a repository that has `files` in its build file."""
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    project = top / "services" / "api"
    function = f"function:\n  runtimes: [python3.13]\n  handler: app.h\n  files: {files}\n"
    (project / "build.yaml").write_text(function + layers)
    return project


def read(project: Path, top: Path) -> Project:
    return read_project(project, None, commit_time=0, repository=top)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ("[app.py, {from: ../../shared/util.py, to: util.py}]", ["app.py", "util.py"]),
        (
            "[app.py, {from: ../../shared/words, to: data/words}]",
            ["app.py", "data/words/deep/two.txt", "data/words/one.txt"],
        ),
        ("[{from: ../../shared/util.py, to: lib/u.py}]", ["app.py", "build.yaml", "data/a.txt", "lib/u.py"]),
        ("[app.py, {from: data, to: other}]", ["app.py", "other/a.txt"]),
    ],
    ids=["a file", "a directory", "beside everything", "of its own"],
)
def test_a_file_gets_another_place(tmp_path: Path, files: str, names: list[str]) -> None:
    project = read(repository(tmp_path, files), tmp_path)
    assert [name for name, _ in own_files(project, "function")] == names


@pytest.mark.parametrize(
    ("files", "outside"),
    [
        ("[app.py, {from: ../../shared/util.py, to: util.py}]", True),
        ("[app.py, {from: ../../shared, to: shared}]", True),
        ("[app.py, {from: linked, to: shared}]", True),
        ("[app.py, {from: with_a_link, to: shared}]", True),
        ("[app.py, {from: data, to: other}]", False),
        ("[app.py, {from: ../api/data, to: other}]", False),
        ("[app.py]", False),
    ],
)
def test_it_is_known_whether_files_come_from_outside_of_the_project(tmp_path: Path, files: str, outside: bool) -> None:
    """Else a commit that changes only these would change nothing, since the project's directory is the same."""
    project = repository(tmp_path, files)
    (project / "linked").symlink_to("../../shared")
    (project / "with_a_link").mkdir()
    (project / "with_a_link/util.py").symlink_to("../../../shared/util.py")
    assert read(project, tmp_path).reads_outside == outside


def test_it_is_known_whether_a_layer_comes_from_outside_of_the_project(tmp_path: Path) -> None:
    layers = "layers:\n  common: {files: [{from: ../../shared, to: shared}], dest_dir: python}\n"
    assert read(repository(tmp_path, "[app.py]", layers), tmp_path).reads_outside
    made = "layers:\n  common: {preinstall: [make], files: [{from: made, to: shared}], dest_dir: python}\n"
    assert read(repository(tmp_path, "[app.py]", made), tmp_path).reads_outside, "no one knows yet"


def test_a_layer_of_files_from_elsewhere(tmp_path: Path) -> None:
    layers = "layers:\n  common: {files: [{from: ../../shared, to: shared}], dest_dir: python}\n"
    project = read(repository(tmp_path, "[app.py]", layers), tmp_path)
    names = [name for name, _ in own_files(project, "common")]
    assert names == ["python/shared/util.py", "python/shared/words/deep/two.txt", "python/shared/words/one.txt"]


def test_two_files_of_a_layer_do_not_get_one_place(tmp_path: Path) -> None:
    layers = (
        "layers:\n  common:\n    source_dir: data\n"
        "    files: [a.txt, {from: ../../../shared/words/one.txt, to: a.txt}]\n"
    )
    project = read(repository(tmp_path, "[app.py]", layers), tmp_path)
    with pytest.raises(ArtifactConflict, match=r"files: a\.txt: two files want this place"):
        own_files(project, "common")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("[app.py, {from: ../../../x, to: x}]", "build.yaml:4: function.files.1: '../../../x' leaves the repository"),
        ("[app.py, {from: ../../shared/utl.py, to: x}]", "function.files.1: '../../shared/utl.py' does not exist"),
        ("[app.py, {from: data/a.txt, to: app.py}]", "function.files: app.py: two files want this place in the zip"),
        ("[app.py, {from: data, to: ../x}]", "function.files.1.to: '../x' leaves the project"),
        ("[app.py, {from: data}]", "function.files.1.to: missing"),
        ("[app.py, {form: data, to: x}]", "function.files.1.form: unknown key; did you mean from?"),
        ("[app.py, {from: /etc/passwd, to: x}]", "function.files.1.from: '/etc/passwd' is absolute"),
        ("[app.py, {from: ../.., to: x}]", "function.files.1.from: '../..'"),
    ],
)
def test_what_is_wrong_is_said_by_its_place(tmp_path: Path, files: str, said: str) -> None:
    top = tmp_path / "repository"
    (tmp_path / "x").write_text("outside\n")
    with pytest.raises(InvalidBuildFile) as caught:
        read(repository(top, files), top)
    assert said in caught.value.message, caught.value.message


def test_a_link_does_not_lead_out_of_the_repository(tmp_path: Path) -> None:
    top = tmp_path / "repository"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.txt").write_text("outside\n")
    project = repository(top, "[app.py, {from: ../../linked, to: linked}]")
    (top / "linked").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidBuildFile, match="leaves the repository"):
        read(project, top)


def test_a_change_of_such_a_file_changes_the_function(tmp_path: Path) -> None:
    def snapshot() -> Snapshot:
        ids = ids_of(tmp_path)
        empty = Snapshot(root=tmp_path, url="", ref="", commit="", tree=ids.whole, subtree="", commit_time=0)
        return replace(empty, ids=ids.below)

    project = read(repository(tmp_path, "[app.py, {from: ../../shared/util.py, to: util.py}]"), tmp_path)
    known = reads_of(project.spec, "api", on_disk(snapshot(), "services/api"))
    assert "shared/util.py" in known.paths
    (tmp_path / "secret.txt").write_text("other\n")
    assert still_holds(known, project.spec, "api", snapshot())
    elsewhere = read(repository(tmp_path, "[app.py, {from: ../../shared/util.py, to: other.py}]"), tmp_path)
    assert not still_holds(known, elsewhere.spec, "api", snapshot()), "another place is another function"
    (tmp_path / "shared" / "util.py").write_text("W = 2\n")
    assert not still_holds(known, project.spec, "api", snapshot())


def test_a_workstation_builds_it_as_well(tmp_path: Path) -> None:
    top, out = tmp_path / "repository", tmp_path / "out"
    project = repository(top, "[app.py, {from: ../../shared/words, to: words}]")
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    (top / ".gitignore").write_text("deep/\n")
    command = [sys.executable, "-m", "builder", "build", str(project), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out / "function.zip") as made:
        assert made.namelist() == ["app.py", "words/one.txt"]
    # Without a repository around it there is nothing but the directory.
    (top / ".git").rename(tmp_path / "git")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "'../../shared/words' leaves the repository" in done.stderr


ELSEWHERE = (
    "defaults: {runtimes: [python3.11], handler: app.h, source_dir: src}\n"
    "functions: {one: {dependencies: [%s]}, two: {}}\nlayers: {dependencies: [requirements.txt]}\n"
)


def with_requirements(top: Path, entry: str) -> Path:
    files = {
        "services/api/src/app.py": "def h(e, c): ...\n",
        "services/api/requirements.txt": "-r ../../shared/more.txt\n",
        "services/api/build.yaml": ELSEWHERE % entry,
        "shared/requirements.txt": "-r more.txt\n./lib\n",
        "shared/more.txt": "# none\n",
        "shared/lib/pyproject.toml": "[project]\nname = 'lib'\nversion = '1'\n",
        "shared/lib/lib.py": "X = 1\n",
    }
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top / "services" / "api"


def test_requirements_may_be_elsewhere_in_the_repository(tmp_path: Path) -> None:
    top, out = tmp_path / "repository", tmp_path / "out"
    project = with_requirements(top, "../../shared/requirements.txt")
    ids = ids_of(top)
    empty = Snapshot(root=top, url="", ref="", commit="", tree=ids.whole, subtree="", commit_time=0)
    spec = read_functions((project / "build.yaml").read_text(), file="build.yaml").functions["one"]
    paths = reads_of(spec, "one", on_disk(replace(empty, ids=ids.below), "services/api")).paths
    assert {"shared/requirements.txt", "shared/more.txt", "shared/lib"} <= {*paths}
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    command = [
        sys.executable,
        "-m",
        "builder",
        "build",
        str(project),
        "one",
        "-o",
        str(out),
        "--cache",
        str(tmp_path / "c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out / "one" / "layers" / "dependencies.zip") as made:
        assert "python/lib.py" in made.namelist()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "../../../requirements.txt",
            "one.dependencies.0: '../../../requirements.txt' leaves the repository",
        ),
        ("../../shared/requirement.txt", "'../../shared/requirement.txt' does not exist; did you mean"),
        ("../..", "functions.one.dependencies.0: '../..' names no file or directory"),
        ("src/../../x.txt", "functions.one.dependencies.0: 'src/../../x.txt' leaves the project with .."),
    ],
)
def test_requirements_never_come_from_outside_of_the_repository(tmp_path: Path, entry: str, said: str) -> None:
    top = tmp_path / "repository"
    (tmp_path / "requirements.txt").write_text("outside\n")
    project = with_requirements(top, entry)
    with pytest.raises(InvalidBuildFile) as caught:
        read_project(project, None, commit_time=0, repository=top, key="one")
    assert said in caught.value.message, caught.value.message


def test_npms_files_stay_in_the_project(tmp_path: Path) -> None:
    project = with_requirements(tmp_path, "x")
    (tmp_path / "shared" / "package.json").write_text("{}")
    (project / "src" / "app.js").write_text("exports.h = () => 1\n")
    (project / "build.yaml").write_text(
        "function: {runtimes: [nodejs22.x], handler: app.h, source_dir: src}\n"
        "layers: {dependencies: [../../shared/package.json]}\n"
    )
    with pytest.raises(InvalidBuildFile, match="leaves the project, which npm's files do not"):
        read(project, tmp_path)

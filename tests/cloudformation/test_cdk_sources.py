"""What a CDK app sends of a project: the construct's patterns, read by git, against what is to be sent."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from builder.sources.excludes import DATA
from tests.e2e.conftest import ROOT

PACKAGE = ROOT / "integrations" / "cdk" / "lambdasmith_cdk"
FILES = (
    *("app.py", ".env", "id_rsa", ".gitignore", ".lambdaignore", "debug.log", "certs/ca.pem", "certs/new.pem"),
    *("svc/.gitignore", "svc/app.py", "svc/build/out.bin", "svc/deep/build/out.bin", "svc/deep/x.tmp", "svc/x.tmp"),
    *("svc/keep.tmp", "svc/.aws/config", "svc/docs/.lambdaignore", "svc/docs/page.md", "svc/docs/draft.md", "page.md"),
    *("odd/[a]/.gitignore", "odd/[a]/x.log", "odd/[a]/y", "odd/a/y", "node_modules/x.js", ".npmrc", "venv/bin/python"),
)
IGNORING = {
    ".gitignore": "*.log\n\n# a comment\n",
    ".lambdaignore": "/page.md\n",
    "svc/.gitignore": "/build\n*.tmp\n!keep.tmp\n",
    "svc/docs/.lambdaignore": "draft.md\n",
    "odd/[a]/.gitignore": "y\n",
}
SENT = {
    *("app.py", ".gitignore", ".lambdaignore", "svc/.gitignore", "svc/app.py", "svc/deep/build/out.bin"),
    *("svc/keep.tmp", "svc/docs/.lambdaignore", "svc/docs/page.md", "odd/[a]/.gitignore", "odd/a/y"),
}


def module(name: str) -> ModuleType:
    """A module of the package alone: the package imports the CDK, which is not everybody's."""
    spec = importlib.util.spec_from_file_location(f"lambdasmith_cdk_{name}", PACKAGE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    spec.loader.exec_module(found)
    return found


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    folder = tmp_path / "project"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(IGNORING.get(name, ""))
    return folder


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    """A repository of empty files with the project's names, in which nothing is ignored."""
    folder = tmp_path / "judge"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    git(folder, "init", "-q")
    return folder


def sent(project: Path, judge: Path, build: str = "") -> set[str]:
    (project / "build.yaml").write_text(f"function: {{runtimes: [python3.13]}}\n{build}")
    known = module("project").read_build_file(project, None)
    staying = module("sources").left_out(project, named=known.named, build_text=known.text)
    (judge / ".git/info/exclude").write_text("\n".join(staying.patterns))
    return set(git(judge, "ls-files", "-z", "--others", "--exclude-standard").split("\0")) - {""}


def test_what_is_ignored_or_may_be_secret_stays(project: Path, judge: Path) -> None:
    assert sent(project, judge, "# nodejs\nlayers: {}  # nodejs\n") == SENT
    build = """
layers:
  certificates: {files: ["ca.pem"], source_dir: certs, description: nodejs}
  other: {preinstall: ["cp ./svc/.aws/config x"], files: [app.py, "svc/**", odd]}
"""
    more = {"certs/ca.pem", "svc/.aws/config", "node_modules/x.js", ".npmrc"}
    assert sent(project, judge, build) == SENT | more, "what the build file names is meant, what is below a name is not"


def test_what_git_ignores_stays_and_what_else_it_has_is_as_the_builder_takes_it(project: Path, judge: Path) -> None:
    outer = project.parent
    git(outer, "init", "-q")
    (outer / ".gitignore").write_text("/project/app.py\nvenv\n")
    (outer / ".git/info/exclude").write_text("/project/*/a\n")
    assert sent(project, judge) == SENT - {"app.py", "odd/a/y"}
    git(outer, "add", "-f", "project/certs/ca.pem", "project/certs/new.pem", "project/svc/build/out.bin")
    assert sent(project, judge) == (SENT | {"svc/build/out.bin"}) - {"app.py", "odd/a/y"}
    staying = module("sources").left_out(project, named=["certs/n*.pem", "x.key"], build_text="")
    assert staying.secrets == ("certs/ca.pem",), "somebody may count on it"
    # A directory that the repository does not want to know is one without git.
    git(outer, "rm", "-r", "-q", "--cached", "project")
    (outer / ".gitignore").write_text("project\n")
    assert sent(project, judge, "# nodejs\nlayers: {}  # nodejs\n") == SENT


def test_the_list_is_the_builders() -> None:
    assert (PACKAGE / "default_excludes.json").read_bytes() == DATA.read_bytes()


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ("layers: {dependencies: []}", ()),
        ("layers: {b: {files: [x]}, dependencies: [r.txt], a: 'arn:aws:lambda:eu-west-1:1:layer:l:1'}", None),
        ("layers:", ()),
        ("", ()),
    ],
)
def test_layers_are_those_that_are_built(tmp_path: Path, layers: str, found: tuple[str, ...] | None) -> None:
    (tmp_path / "build.yaml").write_text(f"function: {{runtimes: [python3.13], files: [app.py]}}\n{layers}\n")
    build = module("project").read_build_file(tmp_path, None)
    assert build.layers == (("b", "dependencies", "arn:aws:lambda:eu-west-1:1:layer:l:1") if found is None else found)
    assert build.runtime == "python3.13"
    assert "app.py" in build.named

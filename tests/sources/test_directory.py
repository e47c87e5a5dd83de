"""A directory as a source: what is taken of it, and that its content is the same however it comes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.errors import SourceError
from builder.flow.workstation import Order, build
from builder.progress import Progress
from builder.sources.archive import snapshot_of
from builder.sources.directory import snapshot
from builder.sources.gitlib.files import read_work_tree
from builder.sources.treeid import tree_id

FILES = {
    "build.yaml": "function:\n  runtimes: [python3.13]\n  handler: app.handler\n  files: [app.py, pkg, run.sh]\n",
    "app.py": "def handler(event, context): ...\n",
    "pkg/__init__.py": "",
    "pkg/data.bin": "0123456789" * 50,
    "run.sh": "#!/bin/sh\n",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def git(folder: Path, *arguments: str, **environment: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def taken(folder: Path, into: Path) -> set[str]:
    root = snapshot(folder, into).root
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


IGNORED = {
    ".lambdaignore": "# local things\n*.log\n!keep.log\n/data/\ndocs/**/*.png\nnode_modules/\n",
    "a.log": "",
    "deep/b.log": "",
    "keep.log": "",
    "data/x": "",
    "deep/data/x": "",
    "docs/a/b.png": "",
    "docs/b.txt": "",
    "web/node_modules/c/keep.log": "",
}


@pytest.mark.parametrize("is_repository", [False, True], ids=["directory", "work tree"])
def test_lambdaignore_leaves_out_what_git_would_ignore_by_the_same_lines(tmp_path: Path, is_repository: bool) -> None:
    folder = tmp_path / "shop"
    write(folder, {**IGNORED, **FILES, ".gitignore": "run.sh\n"})
    expected = {".lambdaignore", "keep.log", "deep/data/x", "docs/b.txt", ".gitignore", *FILES}
    if is_repository:
        git(folder, "init", "-q")
        git(folder, "add", "app.py", "a.log")
        expected.remove("run.sh")
    assert taken(folder, tmp_path / "into") == expected
    if is_repository:
        shutil.copy(folder / ".lambdaignore", folder / ".git" / "info" / "exclude")
        git(folder, "rm", "-q", "--cached", "a.log")
        (folder / ".lambdaignore").unlink()
        listed = git(folder, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        assert set(listed) == expected - {".lambdaignore"}


@pytest.mark.skipif(not shutil.which("git"), reason="needs git: install git")
def test_a_commit_a_directory_and_archives_of_it_give_the_same_artifact(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write(folder, FILES)
    (folder / "run.sh").chmod(0o755)
    (folder / "pkg" / "link.py").symlink_to("../app.py")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    sources = {"work tree": folder}
    for form in ("zip", "tar.gz"):
        git(folder, "archive", f"--output={tmp_path / form}", f"--format={form}", "HEAD")
        sources[form] = snapshot_of(tmp_path / form, tmp_path / f"of {form}").root
    made = {}
    for name, source in sources.items():
        order = Order(directory=source, out=tmp_path / "out" / name, cache=tmp_path / "cache" / name)
        reply = build(order, Progress(), {})
        made[name] = (tmp_path / "out" / name / "function.zip").read_bytes()
        assert reply["statusCode"] == 200
    assert len(set(made.values())) == 1
    ids = {tree_id(source) for name, source in sources.items() if name != "work tree"}
    assert ids == {tree_id(snapshot(folder, tmp_path / "copy").root), git(folder, "rev-parse", "HEAD^{tree}")}


@pytest.mark.skipif(not shutil.which("git"), reason="needs git: install git")
def test_git_alone_packs_a_work_tree_the_same_every_time_and_leaves_no_trace(tmp_path: Path) -> None:
    """What a client with nothing but git can send: changes that are not committed included, ignored files not."""
    folder = tmp_path / "shop"
    write(folder, {**FILES, ".gitignore": "*.log\n", "a.log": "", ".gitattributes": "pkg export-ignore\n"})
    git(folder, "init", "-q")
    git(folder, "add", "app.py", ".gitattributes")
    git(folder, "commit", "-q", "-m", "all")
    write(folder, {"app.py": "changed", "new.py": ""})
    status, objects = git(folder, "status", "--porcelain"), git(folder, "count-objects")
    packed, tree = [], ""
    for number in range(2):
        scratch = tmp_path / f"scratch{number}"
        git(tmp_path, "init", "-q", "--bare", str(scratch))
        # Of all attributes these win: nothing that the repository has is left out or rewritten.
        (scratch / "info" / "attributes").write_text("* -export-ignore -export-subst\n")
        apart = {
            "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(folder / ".git" / "objects"),
            "GIT_AUTHOR_DATE": "315532800 +0000",
            "GIT_COMMITTER_DATE": "315532800 +0000",
        }
        git(folder, "add", "-A", ".", **apart)
        tree = git(folder, "write-tree", **apart)
        commit = git(folder, "commit-tree", "-m", "x", tree, **apart)
        git(folder, "archive", "--format=zip", f"--output={scratch}.zip", commit, **apart, GIT_DIR=str(scratch))
        packed.append(Path(f"{scratch}.zip").read_bytes())
    assert packed[0] == packed[1]
    assert (git(folder, "status", "--porcelain"), git(folder, "count-objects")) == (status, objects)
    made = snapshot_of(tmp_path / "scratch0.zip", tmp_path / "into")
    assert made.tree == tree
    assert (made.root / "pkg" / "data.bin").is_file()
    assert sorted(path.name for path in made.root.iterdir()) == sorted(
        {".gitignore", ".gitattributes", "new.py", *(name.partition("/")[0] for name in FILES)}
    )


@pytest.mark.parametrize(
    "head", ["ref: ", "ref: \n", "ref: refs/heads//heads/main\n", "ref: ../x\n", "", "x", "\0" * 41]
)
def test_a_damaged_head_is_said(tmp_path: Path, head: str) -> None:
    write(tmp_path / "shop", FILES)
    git(tmp_path / "shop", "init", "-q")
    (tmp_path / "shop/.git/HEAD").write_text(head)
    with pytest.raises(SourceError, match="the git repository around it cannot be read: HEAD says") as caught:
        read_work_tree(tmp_path / "shop")
    assert "git fsck" in caught.value.hint


def test_a_damaged_branch_is_said(tmp_path: Path) -> None:
    write(tmp_path / "shop", FILES)
    git(tmp_path / "shop", "init", "-q", "-b", "main")
    (tmp_path / "shop/.git/refs/heads/main").write_text("ref: ")
    with pytest.raises(SourceError, match="the git repository around it cannot be read"):
        read_work_tree(tmp_path / "shop")

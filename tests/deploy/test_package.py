"""deploy.sh --package and --unpack: what was built is brought here, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.sources.test_directory import write

from .conftest import Builder, Project
from .test_send import _sent


def test_zips_are_brought_and_what_has_not_changed_stays(connected: Project, builder: Builder) -> None:
    """DIR has what the workstation's door would leave there; what is there already is not fetched again."""
    connected.config("[deploy]\nalias = live\nversion = yes\nplan = yes\n")
    done = connected.run("--package", "my out")
    assert done.returncode == 0, done.stderr
    (event,) = builder.events()
    assert {**event, "build_id": "", "by": ""} == {
        "action": "package", "project": "orders", "repo_name": "orders", "build_id": "", "by": "",
    }  # fmt: skip
    out = connected.directory / "my out"
    account = json.loads((out / "build.json").read_text(encoding="utf-8"))
    files = {"function": "function.zip", "dependencies": "layers/dependencies.zip", "fonts": "layers/fonts.zip"}
    assert account["files"] == files
    assert account["packages"][0]["note"] == 'a "quoted" é'
    for artifact in account["artifacts"]:
        content = (out / files[artifact["name"]]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    assert "packaged orders from commit 444444444444\n" in done.stdout
    assert f"  fonts         built, {len(content)} B\n" in done.stdout
    assert done.stdout.endswith(f"  brought to    {out}: function.zip layers/dependencies.zip layers/fonts.zip\n")
    assert "text" not in account
    assert (out / "function.zip").stat().st_mode & 0o777 == 0o644

    os.utime(out / "function.zip", (1, 1))
    (out / "layers/mine.zip").write_text("of someone else")
    (out / "layers/dependencies.zip").write_text("spoilt")
    for object_ in builder.s3.list_objects_v2(Bucket="deploy-sh-tests", Prefix="store/artifacts/orders-")["Contents"]:
        builder.s3.delete_object(Bucket="deploy-sh-tests", Key=object_["Key"])
    done = connected.run("--package", "my out", "function", "dependencies")
    assert done.returncode == 0, done.stderr
    assert (out / "function.zip").stat().st_mtime == 1
    assert zipfile.ZipFile(out / "layers/dependencies.zip").testzip() is None
    assert sorted(path.name for path in out.rglob("*.*")) == [
        "build.json", "dependencies.zip", "function.zip", "mine.zip",
    ]  # fmt: skip


def test_functions_of_a_project_have_directories_of_their_own(connected: Project, builder: Builder) -> None:
    """What is no longer packaged goes, with the directories that it leaves empty; what is not ours stays."""
    shop = Project(directory=connected.directory.with_name("shop"), env=connected.env)
    connected.directory.rename(shop.directory)
    parameters = ("--parameter", "Level=a=b", "--parameter", 'Text=say "hi"')
    done = shop.run("--package", "out", "--stage", "prod", *parameters)
    assert done.returncode == 0, done.stderr
    (event,) = builder.events()
    assert event.items() >= {"action": "package", "project": "shop", "stage": "prod"}.items()
    assert event["parameters"] == {"Level": "a=b", "Text": 'say "hi"'}
    out = shop.directory / "out"
    zips = [f"{key}/{file}" for key in ("orders-api", "worker") for file in ("function.zip", "layers/common.zip")]
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.zip")) == zips
    assert json.loads((out / "build.json").read_text())["files"] == {
        "orders-api/function": zips[0],
        "orders-api/common": zips[1],
        "worker/function": zips[2],
        "worker/common": zips[3],
    }
    assert done.stdout.endswith(f"  brought to    {out}: {' '.join(zips)}\n")
    (out / "mine.txt").write_text("of someone else")
    done = shop.run("--package", "out", "orders-api")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["build.json", "mine.txt", "orders-api"]

    done = shop.run("--unpack", "tree", "worker/function")
    assert done.returncode == 0, done.stderr
    assert (shop.directory / "tree/function/who").read_text() == "# function\n"
    assert f"  unpacked      worker/function into {shop.directory}/tree, 3 files\n" in done.stdout
    done = shop.run("--unpack", "other")
    assert done.returncode == 1
    names = "orders-api/function, orders-api/common, worker/function, worker/common"
    assert f"the build file has no component function\nhint: it has {names}\n" in done.stderr


def test_what_cannot_be_brought_leaves_the_old(connected: Project) -> None:
    out = connected.directory / "out"
    write(out, {"function.zip": "old", "build.json": '{"files": {"function": "function.zip", "x": "../escape.zip"}}'})
    done = connected.run("--package", "out", "-f", "spoilt")
    assert done.returncode == 3
    assert "has other content than its name says" in done.stderr
    done = connected.run("--package", "out", "-f", "lost")
    assert done.returncode == 3
    assert "(404)" in done.stderr
    done = connected.run("--unpack", "tree", "-f", "orders", "nonsense")
    assert done.returncode == 1
    assert "the build file has no component nonsense\nhint: it has function, dependencies, fonts\n" in done.stderr
    assert {path.name: path.read_text() for path in out.iterdir() if path.suffix == ".zip"} == {"function.zip": "old"}
    assert not list(connected.directory.rglob("*.part"))


@pytest.mark.parametrize("tool", ["unzip", "python3"])
def test_files_are_unpacked_as_lambda_has_them(connected: Project, builder: Builder, tmp_path: Path, tool: str) -> None:
    """Executable where the zip says so, and for others to read, whatever the caller's umask is."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name != "unzip":
            (tools / path.name).symlink_to(path)
    if tool == "unzip":
        if shutil.which(tool) is None:
            pytest.skip("unzip is not here; install unzip")
        (tools / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        ["bash", "-c", "umask 077; exec bash deploy.sh -s --unpack tree/a fonts"],
        cwd=connected.directory,
        env=connected.env | {"PATH": f"{connected.env['PATH'].split(':')[0]}:{tools}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    tree = connected.directory / "tree/a"
    assert (tree / "fonts/who").read_text() == "# fonts\n"
    modes = {str(path.relative_to(tree)): oct(path.stat().st_mode & 0o777) for path in tree.rglob("*")}
    assert modes == {
        "app.py": "0o644", "bin": "0o755", "bin/run": "0o755", "fonts": "0o755", "fonts/who": "0o644",
    }  # fmt: skip
    assert done.stdout.endswith(f"  unpacked      fonts into {tree}, 3 files\n")
    event, _ = _sent(builder)
    assert "components" not in event  # all are built, so that the handler can be tried


@pytest.mark.parametrize("git", [True, False])
def test_what_was_packaged_is_not_sent(connected: Project, builder: Builder, git: bool) -> None:
    """Unless git tracks it. A directory that has the project in it is no reason to leave the project out."""
    if git:
        connected.repository(origin=None)
        write(connected.directory, {"made/tracked.txt": "1"})
        connected.git("add", "made")
    for directory, expected in (("out", False), ("..", True), *((("made", True),) if git else ())):
        write(connected.directory, {"out/x.zip": "", "made/function.zip": ""})
        done = connected.run("-s", "--package", directory, "function")
        assert done.returncode == 0, done.stderr
        names = _sent(builder)[1]
        assert "build.yaml" in names
        assert ("out/x.zip" in names) == expected
    assert not git or "made/function.zip" in names

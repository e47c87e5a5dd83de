"""deploy.sh -s: which files go, and by which way."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.sources.directory import snapshot
from builder.sources.excludes import Excludes, default_excludes
from tests.sources.test_directory import FILES, IGNORED, write
from tests.sources.test_excludes import UNWANTED

from .conftest import BUCKET, SCRIPT, Builder, Project


def _sent(builder: Builder) -> tuple[dict[str, Any], dict[str, str]]:
    """The one event that was sent, without its archive, and the archive's files: their content, or `-> TARGET`."""
    (event,) = builder.events()
    builder.forget()
    return event, _files(base64.b64decode(event.pop("archive"), validate=True))


def _files(archive: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./")
            if entry.issym():
                found[name] = f"-> {entry.linkname}"
            elif content := tar.extractfile(entry):
                found[name] = content.read().decode(errors="replace") + ("*" if entry.mode & 0o100 else "")
    return found


def _everything(directory: Path) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_what_git_would_take_is_sent(connected: Project, builder: Builder) -> None:
    """From a sub-directory: the whole work tree with its changes, as a commit would have it; .git stays as it is."""
    connected.env["GIT_CONFIG_NOSYSTEM"] = "1"  # where git-lfs may be set up
    connected.repository(origin="https://git.example/acme/mono.git")
    service = Project(directory=connected.directory / "services" / "mail", env=connected.env)
    write(
        connected.directory,
        {
            ".gitignore": "*.log\n*.ign\n",
            ".gitattributes": "lib export-ignore\n*.txt text ident\n*.bin filter=lfs\n",
            "lib/util.py": "old",
            "lines.txt": "$Id$\r\n",
            "kept.ign": "tracked",
            "gone.py": "",
            "wéird ö/a\tb": "",
            "model.bin": "weights",
            "services/mail/build.yaml": "function: {}\n",
            "vendored/a.py": "1",
            "elsewhere/x.py": "",
            "absent/a.py": "",
        },
    )
    shutil.copy(SCRIPT, service.directory)
    (connected.directory / "link.py").symlink_to("lib/util.py")
    for name in ("vendored", "absent"):
        inner = Project(directory=connected.directory / name, env=connected.env)
        inner.repository(origin=None)
        inner.git("add", "-A")
        inner.git("commit", "-q", "-m", "inner")
    connected.git("config", "filter.lfs.clean", "echo pointer; cat >/dev/null")
    connected.git("config", "filter.lfs.required", "true")
    connected.git("config", "core.autocrlf", "true")
    connected.git("add", "-A")
    connected.git("add", "-f", "kept.ign")
    connected.git("commit", "-q", "-m", "all")
    assert connected.git("show", "HEAD:model.bin") == "pointer"
    write(
        connected.directory,
        {
            "lib/util.py": "new",
            "run.sh": "added",
            "a.log": "",
            "vendored/b.py": "2",
            "vendored/no.py": "",
            ".lambdaignore": "elsewhere/\nvendored/no.py\n",
            "services/mail/config.ini": "[deploy]\nalias = live\n[aws]\naws_secret_access_key = s3cret\n",
        },
    )
    (connected.directory / "run.sh").chmod(0o755)
    (connected.directory / "gone.py").unlink()
    (connected.directory / ".gitignore").write_text("*.ign\na.log\n", encoding="utf-8")
    shutil.rmtree(connected.directory / "absent")
    (connected.directory / "absent").mkdir()
    before = _everything(connected.directory / ".git")
    done = service.run("-y", "-s", cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    assert _everything(connected.directory / ".git") == before
    event, files = _sent(builder)
    del event["build_id"], event["by"]
    assert event == {"action": "build", "project": "mail", "path": "services/mail", "alias": "live"}
    script = SCRIPT.read_text(encoding="utf-8")
    assert files.pop("services/mail/deploy.sh") == script + "*"
    assert files == {
        ".gitattributes": "lib export-ignore\n*.txt text ident\n*.bin filter=lfs\n",
        ".gitignore": "*.ign\na.log\n",
        ".lambdaignore": "elsewhere/\nvendored/no.py\n",
        "build.yaml": "function: {}\n",
        "deploy.sh": script + "*",
        "kept.ign": "tracked",
        "lib/util.py": "new",
        "lines.txt": "$Id$\n",
        "link.py": "-> lib/util.py",
        "model.bin": "weights",
        "run.sh": "added*",
        "services/mail/build.yaml": "function: {}\n",
        "vendored/a.py": "1",
        "vendored/b.py": "2",
        "wéird ö/a\tb": "",
    }
    assert re.search(rf"sends +{re.escape(str(connected.directory))}, 0\.0 MB, tree [0-9a-f]{{12}}\n", done.stderr)
    assert re.search(r"directory +services/mail\n", done.stderr)
    assert "the submodule absent is not checked out here" in done.stderr
    assert "deployed orders from the files sent (tree 4f3e2d1c0b1a)\n" in done.stdout
    assert "archive" not in service.log


def test_equal_content_is_equal_bytes_and_the_commit_s_tree(connected: Project, builder: Builder) -> None:
    """Other times, another clone, a linked work tree: the same archive, and git's own id of it."""
    write(connected.directory, FILES)
    connected.repository(origin=None)
    connected.git("add", "-A")
    connected.git("commit", "-q", "-m", "all")
    connected.git("worktree", "add", "-q", "../linked")
    archives: list[str] = []
    for directory in (connected.directory, connected.directory, connected.directory.parent / "linked"):
        os.utime(directory / "app.py", (len(archives), 12345))
        done = Project(directory=directory, env=connected.env).run("-n", "-s", "-l", "/dev/null", GIT_DIR="/nowhere")
        assert done.returncode == 0, done.stderr
        assert f"tree {connected.git('rev-parse', 'HEAD^{tree}')[:12]}\n" in done.stderr
        (event,) = builder.events()
        assert event["action"] == "plan"
        archives.append(event["archive"])
        builder.forget()
    assert len(set(archives)) == 1


@pytest.mark.parametrize("is_repository", [False, True], ids=["directory", "work tree"])
def test_the_files_that_a_build_on_a_workstation_takes_are_sent(
    connected: Project, builder: Builder, tmp_path: Path, is_repository: bool
) -> None:
    """Also outside of git; but log and configuration are nobody else's business, unless git has them."""
    ours = {".gitignore": "run.sh\n", "__pycache__/x.pyc": "", "pkg/__pycache__/kept.pyc": "", "config.ini": ""}
    nested = {"deep/.lambdaignore": "*.dat\n/e/\n", "deep/c.dat": "", "deep/e/d": "", "deep/f/e/d": "", "c.dat": ""}
    write(connected.directory, {**IGNORED, **FILES, **nested, **ours})
    if is_repository:
        connected.repository(origin=None)
        connected.git("add", "a.log", "config.ini", "pkg/__pycache__")
    else:
        write(connected.directory.parent, {".gitignore": "*\n"})
        connected.env["GIT_CEILING_DIRECTORIES"] = "/"
        around = Project(directory=connected.directory.parent, env=connected.env)
        around.repository(origin=None)
    done = connected.run("-y", "-s", "-l", "my log")
    assert done.returncode == 0, done.stderr
    root = snapshot(connected.directory, tmp_path / "taken").root
    taken = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    event, files = _sent(builder)
    assert {"c.dat", "deep/f/e/d"} < set(files)
    assert "deep/c.dat" not in files
    assert set(files) == taken - {"my log"} - (set() if is_repository else {"config.ini"})
    assert "path" not in event


@pytest.mark.parametrize("way", ["work tree", "directory"])
def test_secrets_and_clutter_are_sent_only_if_git_has_them(connected: Project, builder: Builder, way: str) -> None:
    """Whatever the build file names; what may be missed is told."""
    text = "function:\n  runtimes: [nodejs22.x]\n  files: [app.py, .env, 'certs/*.pem', node_modules/]\n"
    unwanted = {**UNWANTED, ".npmrc": "", "committed.key": "", ".env.x": "", ".env.example": ""}
    del unwanted["deploy.sh"]  # is there, and shall work
    write(connected.directory, {**FILES, **unwanted, "build.yaml": text})
    wanted = {*FILES, "build.yaml"}
    # What is ignored is not told.
    unsent = {path for path in unwanted if Excludes("").group_of(path) == "secrets"}
    if way == "work tree":
        connected.repository(origin=None)
        connected.git("add", "committed.key", "deploy.sh")
        write(connected.directory, {".gitignore": ".env.x\n!.env.example\n", ".lambdaignore": "terraform.tfstate\n"})
        wanted |= {"committed.key", "deploy.sh", ".env.example", ".gitignore", ".lambdaignore"}
        unsent -= {"committed.key", ".env.example", ".env.x", "terraform.tfstate"}
    done = connected.run("-y", "-s")
    assert done.returncode == 0, done.stderr
    _, files = _sent(builder)
    assert set(files) == wanted
    told = re.search(r"note: not sent, .* usually hold secrets: (.*?)(?: and (\d+) more)?; commit what", done.stderr)
    assert told
    shown = told[1].split(", ")
    assert len(shown) + int(told[2] or 0) == len(unsent)
    assert all(any(path == one or path.startswith(f"{one}/") for path in unsent) for one in shown)


def test_the_script_has_the_builders_list() -> None:
    script = SCRIPT.read_text(encoding="utf-8")
    for group, patterns in default_excludes().items():
        said = re.search(rf"^NEVER_{group.upper()}='([^']*)'$", script, re.MULTILINE)
        assert said, group
        assert tuple(said[1].split()) == patterns


def without_git(project: Project, tmp_path: Path) -> str:
    """A PATH with all that there is on the project's, but git."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in reversed(project.env["PATH"].split(":")):
        for tool in Path(folder).iterdir():
            (tools / tool.name).unlink(missing_ok=True)
            (tools / tool.name).symlink_to(tool)
    (tools / "git").unlink()
    return str(tools)


def test_without_git_nothing_is_sent(project: Project, tmp_path: Path) -> None:
    done = project.run("-y", "-s", PATH=without_git(project, tmp_path))
    assert done.returncode == 2
    assert "-s: git is not installed (or not on the PATH)\nhint: install it\n" in done.stderr


def test_another_directory_is_named_with_a_slash(connected: Project, builder: Builder) -> None:
    """Its own config.ini, log and name count; any other word is a component."""
    mail = connected.directory / "mail"
    write(mail, {"build.json": "{}", "config.ini": "[deploy]\nversion = yes\n"})
    for arguments, cwd in (
        (["-ys", "./mail", "dependencies"], connected.directory),
        (["dependencies", "-y", "--send", str(mail)], Path("/")),
        (["-s", "..", "-y", "--", "dependencies"], mail / "sub"),
    ):
        cwd.mkdir(exist_ok=True)
        done = connected.run(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stderr
        event, files = _sent(builder)
        assert (event["project"], event["components"], event["version"]) == ("mail", ["dependencies"], True)
        assert set(files) == {"build.json"}
        assert "path" not in event
    assert "deployed orders" in (mail / "deploy.log").read_text(encoding="utf-8")
    done = connected.run("-y", "-s", "function")
    assert done.returncode == 0, done.stderr
    event, _ = _sent(builder)
    assert (event["project"], event["components"]) == ("orders", ["function"])


def test_a_git_that_refuses_is_no_reason_to_send_everything(connected: Project, builder: Builder) -> None:
    write(connected.directory, {".git/HEAD": "ref: refs/heads/main\n", ".git/objects/x": "", ".git/refs/x": ""})
    write(connected.directory, {".git/config": "[broken\n"})
    done = connected.run("-y", "-s")
    assert done.returncode == 2
    assert "git does not tell which files" in done.stderr
    assert builder.events() == []


def test_what_is_too_large_for_an_event_is_uploaded_once(connected: Project, builder: Builder) -> None:
    """What just fits goes with the event. A directory without git's ids is uploaded by the build's."""
    connected.repository(origin=None)
    (connected.directory / ".lambdaignore").write_text("large\n", encoding="utf-8")
    (connected.directory / "data").write_bytes(os.urandom(4_500_000))
    assert connected.run("-y", "-s").returncode == 0
    _, files = _sent(builder)
    assert "data" in files
    (connected.directory / "more").write_bytes(os.urandom(500_000))
    (connected.directory / "payload").write_text('{"a": 1}', encoding="utf-8")
    tree = ""
    for again in (False, True):
        done = connected.run("-y", "-s", "-i", "payload", "-f", "tried")
        assert done.returncode == 0, done.stderr
        (event,) = builder.events()
        builder.forget()
        tree = re.findall(r"tree ([0-9a-f]{12})", done.stderr)[0]
        assert event["source"]["bucket"] == BUCKET
        assert re.fullmatch(rf"store/uploads/{tree}[0-9a-f]{{28}}\.tar\.gz", event["source"]["key"])
        assert event["invoke"] == {"a": 1}
        assert "archive" not in event
        assert ("is there already" in done.stderr) == again
        assert ("uploading" in done.stderr) != again
    kept = builder.s3.get_object(Bucket=BUCKET, Key=event["source"]["key"])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(kept)) as tar:
        assert {"data", "more", "build.yaml"} <= set(tar.getnames())

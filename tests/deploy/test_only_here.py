"""deploy.sh says what is only on this disk, and so no part of what the builder builds: before it, briefly after."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import SCRIPT, Project

ORIGIN = "https://git.example/acme/orders.git"
# What main() does without AWS, up to the two places where it is said.
SAYING = """
exec 2>&1
commit=$2
TMP=$(mktemp -d "$1/../told.XXXXXX")
find_project "$1/deploy.sh"
shift 2
parse_flags -y "$@"
read_config
open_log
read_git
settle
refuse_wrong_use
describe_only_here
tell_only_here "$commit"
"""


def told(output: str) -> list[str]:
    """The warnings, with the lines that belong to them: the first is from before the build, the second from after."""
    blocks: list[str] = []
    for line in output.splitlines():
        if line.lstrip().startswith("WARNING: "):
            blocks.append(line.strip())
        elif blocks and line.startswith("         "):
            blocks[-1] += f" | {line.strip()}"
    return blocks


def said(project: Project, *arguments: str, commit: str = "") -> list[str]:
    """What deploy.sh says, if that `commit` is the one that was built."""
    return told(project.function(SAYING, str(project.directory), commit, *arguments))


def on_a_server(project: Project, server: Path) -> Project:
    subprocess.run(["git", "init", "-q", "--bare", server], check=True, capture_output=True)
    project.repository(origin=ORIGIN)
    project.git("config", "remote.origin.pushurl", str(server))
    project.git("add", "build.yaml")
    project.git("commit", "-q", "-m", "the build file")
    project.git("push", "-q", "-u", "origin", "main")
    return project


@pytest.fixture
def pushed(project: Project, tmp_path: Path) -> Project:
    """A project of which everything is on the server that it calls origin."""
    return on_a_server(project, tmp_path / "server")


def test_nothing_is_said_where_the_server_has_it_all(pushed: Project) -> None:
    """deploy.sh, its settings and its log are nobody's code, committed or not."""
    pushed.config("[deploy]\n")
    # Nor is anybody to commit what -s does not send.
    (pushed.directory / ".venv").mkdir()
    for name in (".env", "server.pem", ".venv/cfg"):
        (pushed.directory / name).write_text("x", encoding="utf-8")
    for _ in range(2):  # from the second time on there is a log
        assert said(pushed) == []
    (pushed.directory / "app.py").write_text("1", encoding="utf-8")
    for arguments in (["-s"], ["-b", "v1"], ["-g", "acme/elsewhere"]):
        assert said(pushed, *arguments) == [], arguments


def test_what_is_not_pushed_or_not_committed_is_told(connected: Project, tmp_path: Path) -> None:
    """With what to do about it before the build; after it only that it is not deployed, if something else is."""
    pushed = on_a_server(connected, tmp_path / "server")
    pushed.git("commit", "-q", "--allow-empty", "-m", "two")
    pushed.git("commit", "-q", "--allow-empty", "-m", "Fix the thing")
    for name in ("build.yaml", "new é.py", "a.py", "b.py"):
        (pushed.directory / name).write_text("changed", encoding="utf-8")
    missing = (
        "not pushed: 2 commits, the last: Fix the thing | not committed: 4 files: build.yaml, a.py, b.py and 1 more"
        " | git commit, then git push; or send the files that are here, as they are: -s"
    )
    for function, code in (("orders", 0), ("refused", 1)):
        done = pushed.run("-y", "-f", function)
        assert done.returncode == code, done.stderr
        first, *after = told(done.stderr)
        assert first == f"WARNING: what is built is origin/main as git's server has it, NOT what is here | {missing}"
        assert after == (
            ["WARNING: NOT deployed: 2 commits and 4 files that you have not committed"] if not code else []
        )
    assert "WARNING: NOT deployed" in pushed.log


def test_a_plan_and_a_package_say_so_once(pushed: Project) -> None:
    pushed.git("commit", "-q", "--allow-empty", "-m", "two")
    way = "not pushed: 1 commit, the last: two | git push; or send the files that are here, as they are: -s"
    for arguments in (["-n"], ["--package", str(pushed.directory / "out")]):
        (before,) = said(pushed, *arguments)
        assert before.endswith(f"NOT what is here | {way}")


def test_a_branch_that_was_never_pushed(pushed: Project) -> None:
    """A branch that follows another one's upstream, too: the builder is asked for the branch's own name."""
    pushed.git("checkout", "-q", "-b", "feature", "--track", "origin/main")
    before, after = said(pushed)
    assert "NOT what is here | never pushed, as far as git here knows: the branch feature | git push -u" in before
    assert "git push -u origin feature; or" in before
    assert after == "WARNING: NOT deployed: the branch feature"
    pushed.git("push", "-q", "origin", "feature")
    assert said(pushed) == []


def test_without_a_branch_the_commit_counts(pushed: Project) -> None:
    pushed.git("checkout", "-q", "--detach")
    assert said(pushed) == []
    pushed.git("commit", "-q", "--allow-empty", "-m", "nowhere")
    head = pushed.git("rev-parse", "HEAD")[:12]
    before, after = said(pushed)
    assert f"never pushed, as far as git here knows: commit {head} | git push origin HEAD:BRANCH; or" in before
    assert after == f"WARNING: NOT deployed: commit {head}"


def test_a_remote_of_another_name_and_a_repository_without_commits(pushed: Project, tmp_path: Path) -> None:
    pushed.git("remote", "rename", "origin", "upstream")
    assert said(pushed) == []
    pushed.git("commit", "-q", "--allow-empty", "-m", "two")
    assert "what is built is upstream/main as git's server has it" in said(pushed)[0]

    empty = Project(directory=tmp_path / "empty", env=pushed.env)
    empty.directory.mkdir()
    shutil.copy(SCRIPT, empty.directory)
    empty.git("init", "-q", "-b", "main")
    before, after = said(empty)
    assert "never pushed, as far as git here knows: the branch main, which has no commit yet" in before
    assert after == "WARNING: NOT deployed: the branch main, which has no commit yet"


def test_the_commit_that_was_built_tells_better(pushed: Project) -> None:
    """Others have pushed these commits meanwhile; or there are more here than git knew."""
    head = pushed.git("rev-parse", "HEAD")
    pushed.git("commit", "-q", "--allow-empty", "-m", "two")
    pushed.git("push", "-q", "origin", "main")
    pushed.git("update-ref", "refs/remotes/origin/main", head)  # as if it had been pushed from another clone
    (before,) = said(pushed, commit=pushed.git("rev-parse", "HEAD"))
    assert "not pushed: 1 commit, the last: two" in before
    pushed.git("commit", "-q", "--allow-empty", "-m", "three")
    assert said(pushed, commit=head)[1] == "WARNING: NOT deployed: 2 commits"


def test_commits_of_others_are_told_quietly(pushed: Project) -> None:
    pushed.git("commit", "-q", "--allow-empty", "-m", "theirs")
    pushed.git("push", "-q", "origin", "main")
    pushed.git("reset", "-q", "--hard", "HEAD~1")
    output = pushed.function(SAYING, str(pushed.directory), "")
    assert output == "  note: 1 commit of origin/main that you do not have here will be part of it (git pull)\n"


def test_outside_of_a_repository(project: Project) -> None:
    """What is here is not deployed at all, unless it is sent, or another repository was named."""
    before, after = said(project)
    only = f"only here: the files in {project.directory}, which is not in a git repository | to send them: -s"
    assert before == f"WARNING: what is built is orders as git's server has it, NOT what is here | {only}"
    assert after == f"WARNING: NOT deployed: the files in {project.directory}"
    assert said(project, "-s") == []
    assert said(project, "-g", "acme/elsewhere") == []

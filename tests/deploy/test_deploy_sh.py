"""deploy.sh as people run it: the real AWS CLI and real invocations of a builder that answers by scenario."""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .conftest import SCRIPT, Builder, Project, on_a_terminal

NASTY = 'it\'s "né" $HOME `id` \\n {x} *'


def test_success_is_told_and_logged(connected: Project, builder: Builder) -> None:
    """What was deployed is on stdout, what will happen on stderr, and both, with times, in the log."""
    done = connected.run("-y", "-t", "-v", "-a", "live", "function", "dependencies")
    assert done.returncode == 0, done.stderr
    assert "deployed orders from commit 4f3e2d1c0b1a" in done.stdout
    assert re.search(r"function +built, 12\.3 kB", done.stdout)
    assert re.search(r"dependencies +unchanged, 5\.2 MB, arn:aws:lambda:\S+:layer:d:3", done.stdout)
    assert re.search(r"version +7\n", done.stdout)
    for library in (
        "libraries   libpq.so.5 in function, 330.0 kB, for bootstrap and 1 more, from /usr/lib64/libpq.so.5",
        "            libldap.so.2 in function, 400.0 kB, for libpq.so.5, from /usr/lib64/libldap.so.2",
    ):
        assert re.search(r" +".join(map(re.escape, library.split())) + r"\n", done.stdout), library
    assert "update the code of orders" in done.stdout
    assert "warning: handler: a warning with “quotes”" in done.stdout
    assert re.search(r"fetch +0\.25 s\n.*in the builder +0\.75 s\n +from here +\d+\.\d\d s", done.stdout, re.DOTALL)
    assert re.search(r"repository +orders\n", done.stderr)
    assert "new version, alias live" in done.stderr
    (event,) = builder.events()
    build_id, by = event.pop("build_id"), event.pop("by")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", build_id)
    assert re.fullmatch(r"\S+@\S+", by)
    assert event == {
        "action": "build",
        "project": "orders",
        "repo_name": "orders",
        "version": True,
        "alias": "live",
        "components": ["function", "dependencies"],
    }
    for line in connected.log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line), line
    assert "deployed orders" in connected.log
    assert '"statusCode": 200' in connected.log


def test_what_no_one_has_named_is_a_project(connected: Project, builder: Builder) -> None:
    """To the builder, which knows from the build file what functions it has. Stages are in every event but status."""
    done = connected.run("-y", "--stage", "prod", "--independent", "api", "common")
    assert done.returncode == 0, done.stderr
    assert re.search(r"  project +orders\n  stage +prod\n", done.stderr)
    assert "independent" in done.stderr
    sent = {"action": "build", "project": "orders", "stage": "prod", "independent": True}
    assert builder.events()[0].items() >= {**sent, "components": ["api", "common"]}.items()
    builder.forget()
    done = connected.run("-y", "--stack", "shop", "--template", "infra.yaml")
    assert re.search(r"  project +orders\n  stack +shop\n", done.stderr)
    assert builder.events()[0].items() >= {"project": "orders", "stack": "shop", "build_file": "infra.yaml"}.items()
    for settings, section in ((["-f", "api"], ""), ([], "function = api\n")):
        builder.forget()
        connected.config(f"[deploy]\nstage = dev\n{section}")
        done = connected.run("-n", *settings)
        assert done.returncode == 0, done.stderr
        assert re.search(r"  function +api\n  stage +dev\n", done.stderr)
        (event,) = builder.events()
        assert (event["function"], event["stage"], "project" in event) == ("api", "dev", False)
    builder.forget()
    connected.config("[deploy]\nstage = dev\n")
    for arguments in (["--history"], ["--verify"], ["--rollback", "-y"], ["--status"]):
        connected.run(*arguments, LAMBDASMITH_DEPLOY_STAGE="test")
    assert [(event["project"], event["stage"]) for event in builder.events()] == [("orders", "test")] * 3


def test_nasty_names_arrive_as_typed(connected: Project, builder: Builder) -> None:
    """Blanks, quotes, dollars, globs and JSON's specials survive directory, file, flags and event."""
    nasty = Project(directory=connected.directory.with_name(NASTY), env=connected.env)
    connected.directory.rename(nasty.directory)
    nasty.config(f'[deploy]\nalias = "{NASTY}"\n')
    done = nasty.run("-y", "-b", f"feature/{NASTY}", "-l", f"{NASTY}.log", NASTY, "\t[]", cwd=nasty.directory.parent)
    assert done.returncode == 0, done.stderr
    (event,) = builder.events()
    assert event["project"] == NASTY
    assert event["repo_name"] == NASTY
    assert event["ref"] == f"feature/{NASTY}"
    assert event["alias"] == f"{NASTY}"
    assert event["components"] == [NASTY, "\t[]"]
    assert "deployed orders" in (nasty.directory.parent / f"{NASTY}.log").read_text(encoding="utf-8")


def test_flags_win_over_environment_over_file(connected: Project, builder: Builder) -> None:
    """Each setting is taken from the strongest place that has it; empty values count as none."""
    connected.config(
        "# mine\n[deploy]\r\n"
        "function = from-file   ; comment\r\n"
        "repo: https://git.example/acme/from-file.git\n"
        'branch = "from # file"\n'
        "  ALIAS   =   from-file   \n"
        "version = yes\n"
        "components = one, two\n"
        "log =\n"
        "[builder]\nfunction_name = other-builder\nfunctions =\n  a\n  b\n"
        "[aws]\naws_profile = not-used-because-the-environment-has-keys\naws_region = xx-nowhere-1\n"
    )
    done = connected.run(
        "-f", "from-flag", "-y",
        LAMBDASMITH_DEPLOY_FUNCTION="from-environment",
        LAMBDASMITH_DEPLOY_ALIAS="from-environment",
        LAMBDASMITH_DEPLOY_BRANCH="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (event,) = builder.events()
    del event["build_id"], event["by"]
    assert event == {
        "action": "build",
        "function": "from-flag",
        "repo": "https://git.example/acme/from-file.git",
        "ref": "from # file",
        "alias": "from-environment",
        "version": True,
        "components": ["one", "two"],
    }
    assert "other-builder in us-east-1" in done.stderr


def test_git_says_what_is_checked_out(connected: Project, builder: Builder) -> None:
    """Repository, branch and sub-directory come from the work tree; credentials in the remote stay here."""
    connected.repository(origin="https://me:s3cret@git.example/acme/mono.git/", branch='fix/"x"')
    service = Project(directory=connected.directory / "services" / "mail", env=connected.env)
    service.directory.mkdir(parents=True)
    shutil.copy(SCRIPT, service.directory)
    (connected.directory / "tracked").write_text("1", encoding="utf-8")
    connected.git("add", "tracked")
    done = service.run("-y", cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    (event,) = builder.events()
    assert event["project"] == "mail"
    assert event["repo"] == "https://git.example/acme/mono.git"
    assert event["ref"] == 'fix/"x"'
    assert event["path"] == "services/mail"
    assert "s3cret" not in done.stderr + done.stdout + service.log
    assert "not committed" not in done.stderr  # the change is outside of services/mail


def test_plan_changes_nothing_and_asks_nothing(connected: Project, builder: Builder) -> None:
    connected.repository(origin="git@git.example:acme/orders.git")
    connected.git("checkout", "-q", "--detach")
    (connected.directory / "build.yaml").write_text("changed", encoding="utf-8")
    connected.git("add", ".")
    done = connected.run("-n", "-g", "acme/elsewhere")
    assert done.returncode == 0, done.stderr
    assert "plan for orders from commit 4f3e2d1c0b1a" in done.stdout
    assert re.search(r"function +build \(not built from these inputs before\)", done.stdout)
    assert re.search(r"dependencies +reuse, 999 B \(its inputs have not changed\)", done.stdout)
    assert re.search(r"phrases +build \(changed: phrases/0.txt, (\S+, ){4}phrases/5.txt and 3 more\)\n", done.stdout)
    assert (
        "  unzipped      at least 48.1 MB of 262.1 MB (18 %)\n  layers        2 of 5\n"
        "  alias         live: 6 -> a new version, 10 % of its traffic\n" in done.stdout
    )
    assert "  publish\n    update the code of orders\n" in done.stdout
    assert "    Timeout: 3 -> 30 (was changed by hand)\n" in done.stdout
    assert '    VpcConfig: not set -> {"SubnetIds": ["a/b", "c"], "Ipv6": false}\n' in done.stdout
    assert "    Layers: none -> one, two\n" in done.stdout
    (event,) = builder.events()
    del event["by"]
    assert event == {"action": "plan", "project": "orders", "repo": "acme/elsewhere"}
    connected.git("config", "user.email", f"\x1björg@{'x' * 200}\n")
    done = connected.run("-n")
    assert builder.events()[1:] == [
        {
            "action": "plan",
            "by": f"jrg@{'x' * 124}",
            "project": "orders",
            "repo": "https://git.example/acme/orders.git",
            "ref": connected.git("rev-parse", "HEAD"),
        }
    ]
    assert "not committed: 1 file: build.yaml" in done.stderr


def test_failures_have_their_exit_codes(connected: Project) -> None:
    """1: the builder refused, with everything it said. 4: the builder broke. 3: AWS or its CLI."""
    done = connected.run("-y", "-f", "refused")
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        'deploy.sh: build: preinstall "make data" failed\n'
        "  - build.yaml:3: one\n  - build.yaml:9: two\n"
        "last lines of its output:\n  | first | line\n  | läst line\n"
        "hint: see \\its\\ output\n(command_failed, build b-1)\n"
    ) in done.stderr.replace("\t", " ")
    assert "command_failed" in connected.log

    # 2: what was asked for is wrong, whoever notices.
    done = connected.run("-y", "-f", "invalid")
    assert done.returncode == 2
    assert "deploy.sh: alias: is only digits\nhint: fix it\n(invalid_event)\n" in done.stderr

    done = connected.run("-y", "-f", "crash")
    assert done.returncode == 4
    assert 'the builder broke: RuntimeError: boom "quoted" second line' in done.stderr

    done = connected.run("-y", "-f", "nonsense")
    assert done.returncode == 4
    assert 'not a builder\'s: "hello"' in done.stderr

    done = connected.run("-y", "-B", "nobody")
    assert done.returncode == 3
    assert "there is no function nobody" in done.stderr

    done = connected.run("-y", "-p", "no-such-profile")
    assert done.returncode == 3
    assert "no-such-profile" in done.stderr

    done = connected.run("-y", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 3
    assert "Could not connect" in done.stderr


def test_keys_of_the_file_reach_aws_and_nothing_else(connected: Project) -> None:
    """Access keys may come from config.ini; the secret is in no output, trace or log."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del connected.env[name]
    done = connected.run("-y")
    assert done.returncode == 3
    assert "hint: aws configure, or name a profile: -p" in done.stderr
    connected.config("[aws]\naws_access_key_id = test\naws_secret_access_key = s3cret-key\naws_region=us-east-1\n")
    done = connected.run("-y", LAMBDASMITH_DEBUG="1", AWS_REGION="", AWS_DEFAULT_REGION="")
    assert done.returncode == 0, done.stderr
    assert "+ deploy.sh:" in done.stderr
    assert "s3cret-key" not in done.stderr + done.stdout + connected.log


def test_progress_is_shown_live(connected: Project, builder: Builder) -> None:
    """Each phase is told while the builder works, in plain lines without a terminal."""
    child = subprocess.Popen(
        ["bash", connected.directory / "deploy.sh", "-y", "-f", "slow"],
        env=connected.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert child.stderr
    seen: dict[str, float] = {}
    for line in child.stderr:
        seen[line.strip()] = time.monotonic()
    ended = time.monotonic()
    out = child.communicate()[0]
    assert child.returncode == 0
    assert "deployed orders" in out
    assert ended - seen["lock: resolving 4 requirements"] > 1
    told = [line for line in seen if "NOT" not in line]
    assert told[-2:] == ["lock: resolving 4 requirements", 'build: compiling "néw"']
    assert len(builder.events()) == 1


def test_a_broken_connection_builds_once(connected: Project, builder: Builder) -> None:
    """When the client gives up waiting, the build is followed to its end and the same id never builds again."""
    done = connected.run("-y", "-f", "slow", LAMBDASMITH_READ_TIMEOUT="2")
    assert done.returncode == 0, done.stderr
    assert "the connection to the builder broke off" in done.stderr
    assert "deployed orders" in done.stdout
    (event,) = builder.events()
    again = connected.run("-y", "-f", "slow", LAMBDASMITH_BUILD_ID=event["build_id"])
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert [sent["build_id"] for sent in builder.events()] == [event["build_id"]] * 2


def test_a_builder_killed_by_lambda_is_noticed(connected: Project) -> None:
    done = connected.run("-y", "-f", "killed")
    assert done.returncode == 4
    assert "the builder was stopped before the build ended" in done.stderr


def test_without_terminal_it_wants_a_flag(project: Project) -> None:
    done = project.run()
    assert done.returncode == 2
    assert "there is no terminal to ask on" in done.stderr
    assert "-y" in done.stderr


def test_on_a_terminal_it_asks(connected: Project, builder: Builder) -> None:
    """Account and region are shown before the question; anything but yes does nothing."""
    code, seen = on_a_terminal(connected, [], answers=[("[y/N]", "n\n")])
    assert code == 5
    assert "lambdasmith in us-east-1, account 123456789012" in seen
    assert builder.events() == []
    code, seen = on_a_terminal(connected, [], answers=[("[y/N]", "y\n")])
    assert code == 0
    assert "deployed orders" in seen
    assert len(builder.events()) == 1


def test_ctrl_c_asks_whether_to_follow(connected: Project, builder: Builder) -> None:
    """One line is drawn over; an interrupt does not stop the build, and following it may go on."""
    answers: list[tuple[str, str | int]] = [
        ("compiling", signal.SIGINT),
        ("[Y/n]", "y\n"),
        (" s] ", signal.SIGINT),
        ("[Y/n]", "n\n"),
    ]
    # That build ends when it is told to, not while a busy machine is still starting the AWS CLI.
    code, seen = on_a_terminal(connected, ["-y", "-f", "long"], answers=answers)
    (event,) = builder.events()
    builder.release(event["build_id"])
    assert code == 130, seen
    assert re.search(r"\r\x1b\[K\[\d+ s\] build: compiling", seen)
    assert f"deploy.sh --status {event['build_id']}" in seen


def test_ctrl_c_offers_to_stop_what_many_invocations_make(connected: Project, builder: Builder) -> None:
    answers: list[tuple[str, str | int]] = [("parts are made", signal.SIGINT), ("[Y/n, stop]", "stop\n")]
    code, seen = on_a_terminal(connected, ["-y", "-f", "spread"], answers=answers)
    assert code == 130, seen
    assert "is stopped, and nothing was published" in seen
    build, stop = builder.events()
    assert (stop["action"], stop["build_id"]) == ("stop", build["build_id"])


# A build that goes on for ever.
ENDLESS = """#!/bin/bash
case $* in *fileb://*/event*) exec sleep 600 ;; esac
printf '{"statusCode": 200, "text": {"shell": "status 200%%0Astate running%%0Aprogress lock: %s"}}' $RANDOM >poll.reply
printf '200 None\\n'
"""
# What `follow` needs, in a hurry, and a question that is only counted.
FOLLOWING = """
cd "$1"
TMP=$PWD LOG=$PWD/log AWS_OPTIONS=()
BUILDER=b BUILD_ID=b TRACKED=b ACTION=build BUILD='' READ_TIMEOUT=0 FOLLOW_LIMIT=600
exec 9>>"$LOG"
: >event
: >ask
live() { return 0; }
sleep() { command sleep "${1/0.1/0.002}"; }
ask_to_follow() { INTERRUPTED=''; printf 'asked\\n'; }
printf 'ready\\n'
follow
"""


def test_no_ctrl_c_is_lost(project: Project) -> None:
    """Whatever it comes upon: the pause, a poll that is read, the line that is drawn, the log.

    Of 200 at random moments bash lost about one while the loop had command substitutions in it.
    """
    tools = project.directory / "bin"
    tools.mkdir()
    (tools / "aws").write_text(ENDLESS, encoding="utf-8")
    (tools / "aws").chmod(0o755)
    child = subprocess.Popen(
        ["bash", "-c", f'. "$1"; shift\n{FOLLOWING}', "test", SCRIPT, project.directory],
        env=project.env | {"TERM": "xterm", "PATH": f"{tools}:{project.env['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.stdout
    pauses = random.Random(13)
    try:
        assert child.stdout.readline() == b"ready\n"
        until = time.monotonic() + 60
        while not (project.directory / "poll.reply").exists() and time.monotonic() < until:
            time.sleep(0.01)
        for number in range(200):
            time.sleep(pauses.uniform(0, 0.012))
            os.killpg(child.pid, signal.SIGINT)
            assert select.select([child.stdout], [], [], 20)[0], f"interrupt {number} was lost"
            assert child.stdout.readline() == b"asked\n"
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()

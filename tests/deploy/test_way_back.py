"""What deploy.sh does beside deploying: back to an earlier build, what was deployed, how far a build is, and trials."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from .conftest import Builder, Project, on_a_terminal


def _sent(builder: Builder) -> dict[str, object]:
    """The one event that was sent, without who sent it."""
    (event,) = builder.events()
    assert event.pop("by") == "ann@example.com"
    builder.forget()
    return event


@pytest.fixture
def mine(connected: Project) -> Project:
    """A connected project whose deploys are Ann's, with defaults that only deploys have a use for."""
    connected.repository(origin="https://git.example/acme/orders.git")
    connected.git("config", "user.email", "ann@example.com")
    connected.config("[deploy]\nalias = live\nversion = yes\ncomponents = function\ninvoke = no-such-file.json\n")
    return connected


def test_rollback(mine: Project, builder: Builder) -> None:
    """By alias, to the build that is named or the one before; what was done is told as for a deploy."""
    done = mine.run("-y", "--rollback")
    assert done.returncode == 0, done.stderr
    event = _sent(builder)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", str(event.pop("build_id")))
    assert event == {"action": "rollback", "project": "orders", "alias": "live"}
    assert done.stdout.startswith("rolled back orders to build b-1\n")
    assert "update the code of orders" in done.stdout
    assert re.search(r"alias +live\n +back to +the build before the present one\n", done.stderr)

    done = mine.run("--rollback", "-a", "beta", "20261121-b.7_x", "-y", LAMBDASMITH_BUILD_ID="mine")
    assert done.returncode == 0, done.stderr
    assert _sent(builder) == {
        "action": "rollback",
        "project": "orders",
        "alias": "beta",
        "build": "20261121-b.7_x",
        "build_id": "mine",
    }
    assert "to build 20261121-b.7_x" in done.stdout


def test_a_rollback_shows_the_way_before_it_asks_and_goes_where_it_has_said(mine: Project, builder: Builder) -> None:
    """Whatever is deployed while the question stands."""
    now, then = "build b-3 (commit 111111111111, 3 h ago)", "build b-1 (commit 4f3e2d1c0b1a, 3 days ago)"
    code, seen = on_a_terminal(mine, ["--rollback"], answers=[("Roll back? [y/N]", "n\n")])
    assert code == 5
    before, question, _ = seen.partition("Roll back? [y/N]")
    assert question
    assert "lambdasmith in us-east-1, account 123456789012" in before
    assert re.search(rf"  now +{re.escape(now)}, version 3, by ann@example.com\s", before)
    assert re.search(rf"  then +{re.escape(then)}, version 1\s", before)
    assert re.search(r"  differs +code, layer dependencies, MemorySize\s", before)
    assert "    point alias live of orders at version 1" in before
    asked = {"action": "rollback", "project": "orders", "alias": "live", "preview": True}
    assert _sent(builder) == asked

    code, seen = on_a_terminal(mine, ["--rollback"], answers=[("Roll back? [y/N]", "y\n")])
    assert code == 0
    assert f"rolled back orders\x1b[0m from {now} to {then}" in seen
    first, second = builder.events()
    builder.forget()
    assert first.items() >= asked.items()
    assert second.items() >= {"action": "rollback", "alias": "live", "build": "b-1"}.items()
    assert "preview" not in second

    done = mine.run("--rollback", "-n")
    assert done.returncode == 0, done.stderr
    assert now in done.stdout
    assert _sent(builder) == asked
    done = mine.run("--rollback", "b-3", "-n")
    assert "nothing would be changed" in done.stdout
    done = mine.run("--rollback", "gone", "-n")
    assert done.returncode == 1
    assert "there is no build gone" in done.stderr
    builder.forget()
    done = mine.run("--rollback", "b-3", "-y")
    assert done.stdout.startswith(f"orders was already at {now}\n  nothing had to be changed\n")


def test_history(mine: Project, builder: Builder) -> None:
    """A table whose columns stand under each other; what a deploy does not have is a dash."""
    done = mine.run("--history")
    assert done.returncode == 0
    assert done.stderr == ""
    assert _sent(builder) == {"action": "history", "project": "orders"}
    assert done.stdout.splitlines() == [
        "deploys of orders, the newest first",
        "  when (UTC)        build       who              commit        outcome        size    took    changed",
        "  2026-11-21 10:15  b-3         ann@example.com  111111111111  back to b-1    -       0.3 s   "
        "alias live: 3 -> 1",
        "  2026-11-20 09:00  b-2-longer  -                -             import_failed  -       12.0 s  nothing",
        "  2026-11-19 23:59  b-1         bob@host         333333333333  succeeded      5.2 MB  1.3 s   "
        "layer d:1, code, alias and 1 more",
    ]
    done = mine.run("--history", "1", "-f", "other")
    assert _sent(builder) == {"action": "history", "function": "other", "count": 1}
    assert len(done.stdout.splitlines()) == 3
    assert mine.run("--history", "-f", "nothing").stdout == "no deploys of nothing are recorded\n"


def test_status_of_all(mine: Project, builder: Builder) -> None:
    done = mine.run("--status")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "  builder       1.2.3",
        "  storage       4.1 GB of 80.5 GB (5 %) in this account and region",
        "  ours          1.2 MB, zipped: 3 functions, 4 versions, 5 layer versions",
        "the last builds",
        "  when (UTC)        build  who       function  commit  took   outcome",
        "  2026-11-21 10:15  b-9    bob@host  orders    -       2.0 s  x_y",
    ]


def test_status_of_one_function(mine: Project) -> None:
    assert "b-9" in mine.run("--status", "-f", "orders").stdout
    assert mine.run("--status", "-f", "nothing").stdout.endswith("no builds are recorded\n")
    told = "this builder lists the builds of one function at a time: deploy.sh --status -f NAME"
    assert mine.run("--status", "-f", "untold").stdout.splitlines() == ["  builder       1.2.3", told]


def _start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """deploy.sh as a child that has told of the phase `build`."""
    child = subprocess.Popen(
        ["bash", project.directory / "deploy.sh", *arguments],
        cwd=project.directory,
        env=project.env | {"LAMBDASMITH_BUILD_ID": "long-one"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert child.stderr
    assert any("build: compiling" in line for line in child.stderr)
    return child


def test_status_follows_a_build(mine: Project, builder: Builder) -> None:
    """From another terminal: its phases while it runs, then what it said in the end, and the same exit code."""
    (mine.directory / "payload").write_text("{}", encoding="utf-8")
    unknown = mine.run("--status", "nobody-s")
    assert unknown.returncode == 1
    assert "no such build" in unknown.stderr
    with (
        _start(mine, "-y", "-f", "long", "-i", "payload") as deploy,
        _start(mine, "--status", "long-one") as following,
    ):
        builder.release("long-one")
        told, followed = deploy.communicate()[0], following.communicate()[0]
    assert deploy.returncode == following.returncode == 0
    assert "deployed orders" in told
    assert followed == told
    assert mine.run("--status", "long-one").stdout == told
    assert len(builder.events()) == 1


def test_verify(mine: Project, builder: Builder) -> None:
    """Each component, and exit 1 unless all are what the source says."""
    done = mine.run("--verify", "b-1")
    assert done.returncode == 1
    assert _sent(builder) == {"action": "verify", "project": "orders", "alias": "live", "build": "b-1"}
    assert done.stdout.splitlines() == [
        "orders is NOT what commit 4f3e2d1c0b1a makes (build b-1)",
        "  component     deployed          rebuilt           outcome",
        "  function      aaaaaaaaaaaaaaaa  aaaaaaaaaaaaaaaa  same",
        "  dependencies  bbbbbbbbbbbbbbbb  cccccccccccccccc  DIFFERENT",
    ]
    done = mine.run("--verify", "-f", "verified")
    assert done.returncode == 0
    assert "verified is what commit 4f3e2d1c0b1a makes" in done.stdout


def test_a_trial_and_part_of_the_traffic(connected: Project, builder: Builder) -> None:
    """The payload arrives as it was written, its answer is shown; a file of config.ini lies beside config.ini."""
    payload = '{\n  "text": "né \\"x\\" \\u0041",\n  "n": [1.50, null]\n}\n'
    (connected.directory / "my payload.json").write_text(payload, encoding="utf-8")
    arguments = ("-y", "-a", "live", "-w", ".05", "--upgrade", "--force")
    done = connected.run("-i", "my payload.json", "-f", "tried", *arguments)
    assert done.returncode == 0, done.stderr
    (event,) = builder.events()
    assert event["invoke"] == json.loads(payload)
    assert event["alias"] == {"name": "live", "weight": 0.05}
    assert event["upgrade"] is event["force"] is True
    assert re.search(r"publish +alias live for 0\.05 of its traffic\n +invoke with my payload\.json\n", done.stderr)
    assert (
        '  invoked version 7, it answered\n    {"ok": [1, "é \\\\ \\n"]}\n'
        "  the end of its log\n    | START\n    | END\n"
    ) in done.stdout
    assert "né" not in connected.log

    builder.forget()
    connected.config("[deploy]\ninvoke = my payload.json\n")
    elsewhere = connected.directory.parent
    done = connected.run("-f", "fails-its-trial", "-y", cwd=elsewhere)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "deploy.sh: orders: version 7 returned an error for the payload (Unhandled): {}\n" in done.stderr
    assert "  | KeyError: 'x'\n(invoke_failed)\n" in done.stderr
    (event,) = builder.events()
    assert event["invoke"] == json.loads(payload)

    done = connected.run("-f", "tried-at-length", "-y", cwd=elsewhere)
    assert f'  invoked $LATEST, it answered\n    ["x{"é" * 998} ... (700.0 kB in all)\n' in done.stdout

    builder.forget()
    assert connected.run("-n", cwd=elsewhere).returncode == 0
    assert "invoke" not in builder.events()[0]


@pytest.mark.parametrize("content", [b'"\xe9"', b"", b"{} {}", b"function: {}\n"])
def test_a_payload_that_is_not_json(connected: Project, builder: Builder, content: bytes) -> None:
    """Lambda says so, and which file it is; the builder does not see it."""
    (connected.directory / "my event").write_bytes(content)
    done = connected.run("-y", "-i", "my event")
    assert done.returncode == 2
    assert "payload my event: is not JSON in UTF-8. " in done.stderr
    assert "hint: python3 -m json.tool <'my event' says where\n" in done.stderr
    assert builder.events() == []


def test_a_large_payload(connected: Project, builder: Builder) -> None:
    """More than one argument of a command can hold."""
    (connected.directory / "large").write_text(json.dumps({"a": "x" * 200_000}), encoding="utf-8")
    done = connected.run("-y", "-i", "large")
    assert done.returncode == 0, done.stderr
    assert len(builder.events()[0]["invoke"]["a"]) == 200_000


def test_who_is_in_the_way(connected: Project) -> None:
    """Another deploy of the same function is named, with the way to see its end."""
    done = connected.run("-y", "-f", "busy")
    assert done.returncode == 1
    assert (
        "deploy.sh: orders is being deployed by ann@example.com (build b-7)\n"
        "this may be temporary: try the same again\n"
        "hint: wait for it: deploy.sh --status b-7\n(function_busy)\n"
    ) in done.stderr


def test_failures_end_without_a_stray_line(connected: Project) -> None:
    """Nothing follows the last line of a failure, wherever it is met."""
    for arguments in (("-y", "-B", "nobody"), ("--history", "-B", "nobody"), ("--status", "b-1", "-B", "nobody")):
        done = connected.run(*arguments)
        assert done.returncode == 3
        assert done.stderr.splitlines()[-1].startswith("hint: there is no function nobody")


def test_a_builder_that_is_older_than_the_script(connected: Project) -> None:
    """It refuses `text`, or does not send any: what there is is said, and the exit code is right."""
    done = connected.run("-y", "-f", "older", "--force")
    assert done.returncode == 1
    assert (
        "deploy.sh: the request is not valid: text: unknown field\n"
        "hint: the builder is older than this file: python setup.py update\n(invalid_event)\n"
    ) in done.stderr
    done = connected.run("-y", "-t", "-f", "older")
    assert done.returncode == 0
    assert done.stdout == "the builder does not tell its reply, which is in the log: python setup.py update\n"
    assert '"changed": ["update the code of orders"]' in connected.log


def test_colours_are_for_terminals(connected: Project) -> None:
    """The log has none, and whoever wants none gets none."""
    code, seen = on_a_terminal(connected, ["-y"], answers=[])
    assert code == 0
    assert "\x1b[1mdeployed orders\x1b[0m from commit" in seen
    code, seen = on_a_terminal(connected, ["-y", "-f", "refused"], answers=[])
    assert code == 1
    assert 'deploy.sh: \x1b[1;31mbuild: preinstall "make' in seen
    assert "\x1b" not in connected.log
    assert '"text"' not in connected.log.replace('"text": "shell"', "")
    connected.env["NO_COLOR"] = "1"
    code, seen = on_a_terminal(connected, ["-y"], answers=[])
    assert "deployed orders from commit" in seen

"""The command line: ready lines, what a real AWS CLI sees, and that nothing is left running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localaws.testing import running
from tests.localaws.lab import Lab, make_lab, wait_until

HOME = Path(__file__).resolve().parents[2] / "localaws" / "src"  # where `python -m` finds this checkout's


def localaws(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localaws", *arguments],
        capture_output=True,
        text=True,
        cwd=HOME,
        timeout=30,
        check=False,
    )


def descendants(pid: int) -> set[int]:
    """All children of a process and theirs."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child} | descendants(child)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_help_names_every_option() -> None:
    assert localaws("--help").returncode == 0
    text = localaws("serve", "--help").stdout
    for option in ("--port", "--state", "--engine", "--isolation", "--enforce-iam", "--pending", "--forward-network"):
        assert option in text


def test_the_ready_line_says_how_it_runs() -> None:
    with running() as server:
        assert server.ready_line.startswith(f"localaws ready at {server.endpoint_url} (engine own, isolation ")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_everything_that_was_started(number: signal.Signals) -> None:
    with running() as server:
        lab = make_lab(server)
        crashing = "import os\ndef handler(e, c):\n    if e: os._exit(1)\n"
        for source, event in (("def handler(e, c): return e\n", b"1"), (crashing, b"1"), (crashing, b"0")):
            lab.client.invoke(FunctionName=lab.function(source), Payload=event)
        started = descendants(server.pid)
        assert started
        os.kill(server.pid, number)
        wait_until(lambda: not alive(server.pid), "the server to end")
        wait_until(lambda: not any(map(alive, started)), "the functions to end")


@pytest.mark.parametrize("starter", ["running()", "git_server(Path())"])
def test_a_server_ends_when_whoever_started_it_is_killed(starter: str, tmp_path: Path) -> None:
    """A run of tests that is killed cannot end its servers."""
    program = f"""if True:
        import signal
        from pathlib import Path
        from localaws.testing import git_server, running
        with {starter} as server:
            print(server.pid, flush=True)
            signal.pause()
    """
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_until(lambda: not alive(pid), "the server to end")


def test_a_busy_port_is_told_in_one_line() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        found = localaws("serve", "--port", str(busy.getsockname()[1]))
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "already in use" in found.stderr.lower()


def test_only_loopback_listens(lab: Lab) -> None:
    port = int(lab.server.endpoint_url.rsplit(":", 1)[-1])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert addresses == {f"0100007F:{port:04X}"}


def test_env_points_the_aws_cli_at_the_server(lab: Lab, tmp_path: Path) -> None:
    aws = shutil.which("aws", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not aws:
        pytest.skip("no AWS CLI: install awscli")
    port = lab.server.endpoint_url.rsplit(":", 1)[-1]
    name = lab.function()
    script = f"""
    eval "$({sys.executable} -m localaws env --port {port})"
    "{aws}" sts get-caller-identity --query Account --output text
    "{aws}" lambda invoke --function-name {name} --payload '{{"a": 1}}' {tmp_path}/out >/dev/null
    cat {tmp_path}/out; echo
    "{aws}" s3 mb s3://from-the-cli
    echo hi | "{aws}" s3 cp - s3://from-the-cli/key
    "{aws}" s3 cp s3://from-the-cli/key -
    """
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    found = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, cwd=HOME, env=environment, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == ["123456789012", '{"a": 1}', "make_bucket: from-the-cli", "hi"]


def test_health_tells_what_was_found(lab: Lab) -> None:
    import requests

    health = requests.get(f"{lab.server.endpoint_url}/_localaws/health", timeout=10).json()
    assert health["status"] == "ready"
    assert health["isolation"] in ("bwrap", "plain")
    assert "provided.al2023" in health["runtimes"]
    assert "Node.js 24" in health["runtimes"]["nodejs24.x"]


def test_plain_isolation_when_asked() -> None:
    with running(isolation="plain") as server:
        assert "isolation plain" in server.ready_line
        lab = make_lab(server)
        assert json.load(lab.client.invoke(FunctionName=lab.function(), Payload=b"1")["Payload"]) == 1


def test_a_git_root_that_is_no_directory() -> None:
    found = localaws("git", "--root", "/nonexistent")
    assert (found.returncode, "is not a directory" in found.stderr) == (1, True)


def test_starting_takes_little_time() -> None:
    """Not a benchmark: a start that drags in half of moto would take ten times this."""
    begin = time.monotonic()
    with running():
        assert time.monotonic() - begin < 15

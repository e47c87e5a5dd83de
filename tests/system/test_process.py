"""Children: what they inherit, how they end."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import pytest

from builder.errors import CommandFailed, OutOfMemory, OutOfSpace, OutOfTime
from builder.system.process import base_environment, run


def test_a_child_gets_only_what_it_is_given(tmp_path: Path) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_SESSION_TOKEN": "t", "PYTHONPATH": "/x", "SSL_CERT_FILE": "/ca"}
    environment = base_environment(secret, home=tmp_path)
    done = run([sys.executable, "-c", "import os; print(dict(os.environ))"], cwd=tmp_path, environment=environment,
               timeout_s=20, what="listing")  # fmt: skip
    (line,) = done.tail
    assert "s3cr3t" not in line
    assert "PYTHONPATH" not in line
    assert "/ca" in line


def test_a_child_that_wants_too_much_memory_fails_by_itself_and_says_so(tmp_path: Path) -> None:
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'bytearray(400 << 20)'], check=True)"
    command, environment = [sys.executable, "-c", code], base_environment({}, home=tmp_path)
    told: list[str] = []
    run(command, cwd=tmp_path, environment=environment, timeout_s=20, what="compiling", memory_mb=2000)
    with pytest.raises(OutOfMemory, match="compiling: not enough memory") as caught:
        run(
            command,
            cwd=tmp_path,
            environment=environment,
            timeout_s=20,
            what="compiling",
            memory_mb=200,
            listen=told.append,
        )
    assert "raise memory" in caught.value.hint
    assert "MemoryError" in told


def test_the_last_lines_of_a_failed_child_are_kept(tmp_path: Path) -> None:
    code = "import sys\nfor n in range(100): print('line', n)\nsys.exit('no such thing')"
    with pytest.raises(CommandFailed, match=r"making it: .* exit status 1") as caught:
        run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            environment=base_environment({}, home=tmp_path),
            timeout_s=20,
            what="making it",
        )
    assert "no such thing" in caught.value.log_tail
    assert "line 99" in caught.value.log_tail
    assert len(caught.value.log_tail) == 40


def test_a_child_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    script = f"(while true; do date > {marker}; sleep 0.05; done) & sleep 60"
    with pytest.raises(OutOfTime, match="before Lambda's time limit"):
        run(["sh", "-c", script], cwd=tmp_path, environment=dict(os.environ), timeout_s=0.5, what="waiting")
    time.sleep(0.2)
    marker.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not marker.exists()


def test_a_background_process_does_not_outlive_its_command(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    script = f"(while true; do date > {marker}; sleep 0.05; done) >/dev/null 2>&1 & exit 0"
    run(["sh", "-c", script], cwd=tmp_path, environment=dict(os.environ), timeout_s=10, what="leaving something")
    time.sleep(0.2)
    marker.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not marker.exists()


def test_a_full_disk_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(OutOfSpace, match="/tmp is full"):
        run(["sh", "-c", "echo No space left on device >&2; exit 1"], cwd=tmp_path, environment=dict(os.environ),
            timeout_s=10, what="writing")  # fmt: skip


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot be started"):
        run(["/nonexistent/tool"], cwd=tmp_path, environment={}, timeout_s=5, what="trying")


def printing(tmp_path: Path, code: str, **given: object) -> list[str]:
    """The last lines of a Python program that fails."""
    with pytest.raises(CommandFailed) as caught:
        run(
            [sys.executable, "-c", code + "\nsys.exit(1)"],
            cwd=tmp_path,
            environment=base_environment({}, home=tmp_path),
            timeout_s=30,
            what="printing",
            **given,  # type: ignore[arg-type]
        )
    return list(caught.value.log_tail)


def test_a_line_without_an_end_is_cut_and_the_rest_goes_nowhere(tmp_path: Path) -> None:
    code = "import sys\nfor _ in range(300): sys.stdout.write('x' * (1 << 20))\nprint()\nprint('last')"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line, last = printing(tmp_path, code)
    assert last == "last"
    assert line.endswith(" characters more)")
    assert len(line) < 20_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"


def test_whatever_bytes_a_child_prints_become_lines(tmp_path: Path) -> None:
    told: list[str] = []
    code = "import sys\nsys.stdout.buffer.write(b'a\\0b\\xff\\xc3')\nsys.stdout.flush()\n"
    code += "sys.stdout.buffer.write(b'\\xa4\\r\\n10%\\r20%\\r\\n\\n end without a line break')\nsys.stdout.flush()"
    lines = printing(tmp_path, code, listen=told.append)
    assert lines == ["a\0b\ufffdä", "10%", "20%", "", " end without a line break"]
    assert told == [line for line in lines if line]

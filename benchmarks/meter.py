"""Runs commands in turn and writes their cost: python -S meter.py REPORT COMMANDS

COMMANDS is a JSON list of argument lists; the first that fails ends it. REPORT gets {seconds, processor, memory_mb,
failed}. It is a process of its own because Linux counts the parent's memory as a program's own, up to its first
instruction: started from the benchmark itself, `true` would be as large as the benchmark.
"""

import json
import os
import sys
import time
from pathlib import Path


def main(report: str, commands: list[list[str]]) -> None:
    """Run them; `memory_mb` is 10^6 bytes of the largest single process, children of the commands included."""
    taken = {"seconds": 0.0, "processor": 0.0, "memory_mb": 0.0}
    failed = ""
    for command in commands:
        started = time.monotonic()
        pid = os.posix_spawnp(command[0], command, os.environ)
        _, status, usage = os.wait4(pid, 0)
        taken["seconds"] += time.monotonic() - started
        taken["processor"] += usage.ru_utime + usage.ru_stime
        taken["memory_mb"] = max(taken["memory_mb"], usage.ru_maxrss * 1024 / 1e6)
        if status:
            failed = " ".join(command[:3])
            break
    Path(report).write_text(json.dumps({**taken, "failed": failed}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

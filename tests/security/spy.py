"""What a stranger's code does that is run in a build: looks everywhere for what is not its own, and tells what it saw.

Run by the projects of the tests, inside the builder, with nothing but the standard library. Prints JSON; with a file as
argument writes it there.
"""

# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request

MARK = b"cn" + b"ry-"  # begins every secret of the tests; spelled so that this text itself is not found
CREDENTIALS = (b"AWS_SECRET_ACCESS_KEY=", b"AWS_SESSION_TOKEN=", b"AWS_ACCESS_KEY_ID=")
ADDRESSES = (
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://169.254.170.2/v2/credentials",
)


def told(data: bytes) -> list[str]:
    """What in `data` is worth stealing; values that are blotted out are not."""
    found = [name.decode() for name in CREDENTIALS if re.search(re.escape(name) + rb"[^\0*]{4}", data)]
    return found + [match.decode() for match in set(re.findall(re.escape(MARK) + rb"[a-z]+", data))]


def processes() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for pid in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        seen: dict[str, object] = {"own": int(pid) == os.getpid()}
        for what in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{what}", "rb") as file:
                    data = file.read()
                seen[what] = told(data)
                if what == "cmdline":
                    seen["name"] = data.replace(b"\0", b" ").decode("utf-8", "replace")[:60]
            except OSError as error:
                seen[what] = error.strerror
        seen["memory"] = memory(pid)
        found[pid] = seen
    return found


def memory(pid: str) -> object:
    """What can be read of a process's writable memory."""
    if int(pid) == os.getpid():
        return "own"
    hits: set[str] = set()
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as file:
            for line in maps:
                found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if not found:
                    continue
                start, end = (int(text, 16) for text in found.groups())
                if end - start > 1 << 28:
                    continue
                try:
                    file.seek(start)
                    hits.update(told(file.read(end - start)))
                except (OSError, ValueError):
                    continue
    except OSError as error:
        return error.strerror
    return sorted(hits)


def metadata() -> dict[str, str]:
    answers = {}
    for address in ADDRESSES:
        try:
            with urllib.request.urlopen(address, timeout=1) as answer:
                answers[address] = f"{answer.status} {answer.read(200)!r}"
        except (OSError, urllib.error.URLError) as error:
            answers[address] = type(error).__name__
    return answers


if __name__ == "__main__":
    text = json.dumps(
        {
            "environ": told("\0".join("=".join(item) for item in os.environ.items()).encode()),
            "api": "AWS_LAMBDA_RUNTIME_API" in os.environ,
            "processes": processes(),
            "metadata": metadata(),
        }
    )
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w") as file:
            file.write(text)
    else:
        print(text)

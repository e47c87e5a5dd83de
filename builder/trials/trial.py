"""Imports the handler's module from the finished artifacts before anything is published.

It runs in a child, with the directories, paths and variables of Lambda, without credentials. A failure for want of
something that only the real function has (files below /opt, credentials, network, variables that the build file does
not set) says nothing about the build: it is reported and the build goes on. Everything else is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.amounts import seconds
from builder.archives import trees
from builder.archives.zips import unpack
from builder.errors import CommandFailed, ImportFailed, OutOfMemory, OutOfSpace, OutOfTime
from builder.nearest import nearest
from builder.runtimes import Target
from builder.system import process
from builder.system.removal import remove

_CHILD = Path(__file__).with_name("trial_child.py")
# Lambda itself allows ten seconds for the first import, and then starts over with the function's whole time limit.
_LONGEST_S = 60.0
# The end of a traceback says what failed; more would push it out of Lambda's last 4 KB of log.
_TAIL = 15
# More than the child writes for any import: its texts, lines and links are bounded.
_MAX_REPORT = 16 << 20
_RUNTIME = Path("/var/runtime")
# Packages of Lambda's Python beyond the standard library.
_OF_THE_RUNTIME = frozenset(
    {"boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six", "awslambdaric", "simplejson"}
    | {"snapshot_restore_py", "runtime_client"}
)
# Errors that no variable, file or network of the real function would fix.
_CERTAIN = frozenset({"builtins.ImportError", "builtins.SyntaxError", "builtins.NameError"})
# Modules whose errors mean that something outside the trial is missing.
_OUTSIDE = ("botocore.", "boto3.", "urllib3.", "requests.", "httpx.", "httpcore.", "aiohttp.", "redis.", "socket.")
_NETWORK = frozenset({"builtins.ConnectionError", "builtins.TimeoutError", "socket.gaierror", "ssl.SSLError"})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A handler to import, and its artifacts.

    `layers` are in the order in which Lambda unpacks them: sha256 → function that returns the zip, called only if it is
    not unpacked already. `memory_mb` is for the import; None for no limit.
    """

    handler: str
    code: Path
    layers: Mapping[str, Callable[[], Path]]
    target: Target
    function: str
    variables: Mapping[str, str]
    region: str = "us-east-1"
    memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of the import: done, or `why` it could not be tried, or why it `stopped`.

    `unset` are variables that it looked for in vain, if that is why it stopped; `log_tail` then ends the traceback.
    """

    imported: bool
    why: str = ""
    stopped: bool = False
    unset: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()


# Called with the trial, the directories of the function and of its layers, a directory of its own, seconds, and a
# function that advises what to do about a missing module.
Importer = Callable[[Trial, Path, Path, Path, float, Callable[[str], str]], Outcome]


def is_possible(target: Target) -> bool:
    """Tell whether this process is like the target: the same Python on the same machine."""
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return sys.platform == "linux" and (own, platform.machine()) == (target.runtime.name, target.machine)


def run(
    trial: Trial,
    *,
    scratch: Path,
    keeping: trees.Keeping,
    timeout_s: float,
    advise: Callable[[str], str],
    by: Importer | None = None,
) -> Outcome:
    """Import the handler.

    Args:
        by: imports it from the unpacked artifacts; by default it is a Python module.
        keeping: where unpacked layers are kept for the next time.
        advise: returns what to do about a missing module.

    Raises:
        ImportFailed: it cannot be imported, or the handler is not in it; `log_tail` ends the traceback.
        OutOfMemory: the import needs more than there is.
    """
    place = scratch / "trial"
    try:
        # Layers are linked into one directory. Linking changes the state of the kept trees, so they are sealed again
        # before foreign code runs, and once more after the links are gone, if they are still as sealed.
        place.mkdir()
        layers = trees.unpacked(trial.layers, keeping)
        task, opt = place / "task", _merged(layers, place / "opt")
        if len(layers) > 1:
            _seal(layers, keeping)
        task.mkdir()
        unpack(trial.code, task)
    except OSError as error:
        # A full disk may have left half a tree, and the next trial needs the room.
        remove(keeping.folder)
        remove(place)
        return Outcome(imported=False, stopped=True, why=f"the artifacts could not be unpacked: {error.strerror}")
    try:
        return (by or _imported)(trial, task, opt, place, min(timeout_s, _LONGEST_S), advise)
    finally:
        # Removing the links changes the trees' states again: seal those that were still intact until now.
        intact = [layer for layer in layers if keeping.intact(layer.parent)] if len(layers) > 1 else []
        remove(place)
        _seal(intact, keeping)


def _seal(layers: Sequence[Path], keeping: trees.Keeping) -> None:
    for layer in layers:
        keeping.seal(layer.parent)


def _merged(layers: Sequence[Path], into: Path) -> Path:
    """Merge all layers into one directory, later ones over earlier ones, as Lambda makes /opt."""
    if len(layers) == 1:
        return layers[0]
    into.mkdir()
    for layer in layers:
        for folder, _, files in os.walk(layer):
            target = into / os.path.relpath(folder, layer)
            target.mkdir(exist_ok=True)
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    (target / name).unlink()
                (target / name).hardlink_to(Path(folder, name))
    return into


def _imported(
    trial: Trial, task: Path, opt: Path, place: Path, timeout_s: float, advise: Callable[[str], str]
) -> Outcome:
    module, _, attribute = trial.handler.rpartition(".")
    order, report = place / "order.json", place / "report.json"
    paths = _search_path(task, opt, trial.target)
    order.write_text(
        json.dumps(
            {
                "module": module.replace("/", "."),
                "attribute": attribute,
                "paths": paths,
                "task": str(task),
                "report": str(report),
            }
        )
    )
    # -I and -S: neither the builder's packages nor its variables may help the import.
    command = [sys.executable, "-I", "-S", str(_CHILD), str(order)]
    found = reported(command, trial, task, opt, place, report, timeout_s)
    if isinstance(found, Outcome):
        return found
    return judged(found, trial, Places(task=str(task), opt=str(opt)), advise)


def reported(
    command: Sequence[str], trial: Trial, task: Path, opt: Path, place: Path, report: Path, timeout_s: float
) -> dict[str, Any] | Outcome:
    """Return the report of a child that imports the handler; an outcome if it was stopped.

    Raises:
        ImportFailed: it ended without a report.
    """
    what = f"importing {trial.handler.rpartition('.')[0]}"
    try:
        done = process.run(
            command,
            cwd=task,
            environment=_environment(trial, task, opt, place),
            timeout_s=timeout_s,
            what=what,
            memory_mb=trial.memory_mb,
        )
    except OutOfTime:
        return Outcome(imported=False, stopped=True, why=f"{what} took longer than {seconds(timeout_s)}")
    except (CommandFailed, OutOfSpace) as error:
        raise ImportFailed(f"function.handler: {error.message}", hint=HINT, log_tail=error.log_tail) from error
    # The handler's module may call os._exit, which leaves no report but exit status 0.
    if not report.exists():
        raise ImportFailed(f"function.handler: {what} ends the process", hint=HINT, log_tail=done.tail[-_TAIL:])
    return read_report(report, what, done.tail)


def read_report(report: Path, what: str, tail: Sequence[str]) -> dict[str, Any]:
    """Read a child's report, which code of the project could have written as well."""
    found: object = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        # The path may be a link or a pipe by now: neither is followed, nor waited for.
        with os.fdopen(os.open(report, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(_MAX_REPORT + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
        found = json.loads(content) if len(content) <= _MAX_REPORT else None
    if not isinstance(found, dict) or not isinstance(found.get("outcome"), str):
        raise ImportFailed(f"function.handler: {what} leaves no readable report", hint=HINT, log_tail=tail[-_TAIL:])
    links = [{"kinds": [], "message": "", **link} for link in _list(found.get("chain")) if isinstance(link, dict)]
    lines = _list(found.get("traceback")) or ["it says nothing"]
    return {
        "names": [],
        "unset": [],
        **found,
        "chain": [{"name": None, "filename": None, **link} for link in links],
        "traceback": lines,
    }


def _search_path(task: Path, opt: Path, target: Target) -> list[str]:
    """Return Lambda's path before the standard library: the function, layers, the runtime's own packages."""
    name = target.runtime.name
    own = [Path("/var/lang/lib") / name / "site-packages", _RUNTIME]
    return [str(task), str(opt / "python/lib" / name / "site-packages"), str(opt / "python"), *map(str, own)]


def _environment(trial: Trial, task: Path, opt: Path, place: Path) -> dict[str, str]:
    """Return all variables of the child: Lambda's own and the function's, no credentials."""
    home = place / "tmp"
    home.mkdir()
    libraries = [str(task), str(task / "lib"), str(opt / "lib")]
    if _RUNTIME.is_dir():
        # The order of Lambda's LD_LIBRARY_PATH: the runtime's own libraries win over those of layers.
        libraries = ["/var/lang/lib", "/lib64", "/usr/lib64", str(_RUNTIME), str(_RUNTIME / "lib"), *libraries]
    return {
        **trial.variables,
        "PATH": f"/var/lang/bin:/usr/local/bin:/usr/bin:/bin:{opt / 'bin'}",
        "LD_LIBRARY_PATH": ":".join(libraries),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": str(home),
        "TMPDIR": str(home),
        "AWS_REGION": trial.region,
        "AWS_DEFAULT_REGION": trial.region,
        # boto3 would otherwise wait seconds for credentials from an address that does not answer.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{trial.target.runtime.name}",
        "AWS_LAMBDA_FUNCTION_NAME": trial.function,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "LAMBDA_TASK_ROOT": str(task),
        "LAMBDA_RUNTIME_DIR": str(_RUNTIME),
        "_HANDLER": trial.handler,
    }


@dataclass(frozen=True, kw_only=True)
class Places:
    """Directories of the unpacked artifacts; messages name Lambda's instead."""

    task: str
    opt: str

    def as_on_lambda(self, text: str) -> str:
        """Return `text` with Lambda's paths."""
        return text.replace(self.task, "/var/task").replace(self.opt, "/opt")


HINT = "it ran with only the finished artifacts; if it cannot work there, set try: none in the build file"


def judged(report: Mapping[str, object], trial: Trial, places: Places, advise: Callable[[str], str]) -> Outcome:
    module, _, attribute = trial.handler.rpartition(".")
    match report["outcome"]:
        case "imported":
            return Outcome(imported=True)
        case "no handler":
            raise ImportFailed(
                f"function.handler: {module} has no {attribute}{nearest(attribute, map(str, _list(report['names'])))}",
                hint="handler is FILE.FUNCTION",
            )
        case "not callable":
            raise ImportFailed(f"function.handler: {attribute} of {module} is not a function", hint="name a callable")
    chain = [dict(link) for link in _list(report["chain"]) if isinstance(link, dict)]
    if any("builtins.MemoryError" in _list(link["kinds"]) for link in chain):
        raise OutOfMemory(
            f"function.handler: importing {module}: not enough memory",
            hint="raise memory in the builder's configuration, or set try: none in the build file",
        )
    lines = [places.as_on_lambda(str(line)) for line in _list(report["traceback"])]
    if why := _not_of_the_build(chain, places):
        return Outcome(imported=False, stopped=True, why=f"importing {module} stopped: {why}")
    if unset := _looked_for_in_vain(chain, report["unset"]):
        what = f"it needs {', '.join(unset)} in the environment, which the build file does not set"
        tail = tuple(_without_ourselves(lines))
        return Outcome(
            imported=False, stopped=True, why=f"importing {module} stopped: {what}", unset=unset, log_tail=tail
        )
    name = next((str(link["name"]) for link in chain if _is_missing_module(link)), None)
    if name is not None:
        hint = advise(name)
    elif any("builtins.SyntaxError" in _list(link["kinds"]) for link in chain):
        hint = "fix the line that the log tail shows; it is not valid for the function's Python"
    else:
        hint = HINT
    raise ImportFailed(
        f"function.handler: importing {module} fails: {lines[-1]}", hint=hint, log_tail=_without_ourselves(lines)
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_missing_module(link: Mapping[str, object]) -> bool:
    return "builtins.ModuleNotFoundError" in _list(link["kinds"]) and bool(link["name"])


def _without_ourselves(lines: Sequence[str]) -> list[str]:
    """Return the end of the traceback, without the frames of the import itself."""
    kept: list[str] = []
    skipping = False
    for line in lines:
        if line.startswith("  File "):
            skipping = "trial_child.py" in line or "<frozen importlib" in line or "/importlib/__init__.py" in line
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    return kept[-_TAIL:]


def _looked_for_in_vain(chain: Sequence[Mapping[str, object]], unset: object) -> tuple[str, ...]:
    """Return the variables whose lack stopped the import; none if the build itself is at fault."""
    is_the_builds = any(_CERTAIN.intersection(map(str, _list(link["kinds"]))) for link in chain[:1])
    return () if is_the_builds else tuple(str(name) for name in _list(unset))


def _not_of_the_build(chain: Sequence[Mapping[str, object]], places: Places) -> str:
    """Say what the trial lacks and the function will have; "" if the build itself is at fault."""
    for link in chain:
        kinds = {str(kind) for kind in _list(link["kinds"])}
        message, filename = str(link["message"]), str(link["filename"] or "")
        if _is_missing_module(link):
            top = str(link["name"]).partition(".")[0]
            if top in _OF_THE_RUNTIME and not (_RUNTIME / top).exists():
                return f"{top} belongs to the runtime and is not here"
            continue
        if kinds & _CERTAIN:
            continue
        if filename.startswith("/opt/") or "/opt/" in message.replace(places.opt, ""):
            return f"it reads {filename or message}, which exists only in the function"
        # A missing library is the build's own fault, although ctypes reports it as an OSError.
        if "builtins.OSError" in kinds and "cannot open shared object file" in message:
            continue
        if "builtins.OSError" in kinds and filename.startswith("/") and not filename.startswith(places.task):
            return f"it uses {filename}"
        if kinds & _NETWORK or any(kind.startswith(_OUTSIDE) for kind in kinds):
            return f"it needs the network or credentials ({message})"
    return ""

"""Imports the handler's module with Node.js from the finished artifacts before anything is published.

As for Python, a failure for want of something that only the real function has is reported and the build goes on.
Here that is everything except a missing module or export, a syntax error, and a name that does not exist.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from builder.errors import ImportFailed
from builder.nearest import nearest
from builder.npm.lockfile import packages_in
from builder.runtimes import Target, architecture_of
from builder.trials.trial import HINT, Outcome, Places, Trial, reported

_CHILD = Path(__file__).with_name("trial_child.mjs")
_ENDINGS = (".js", ".mjs", ".cjs")
_TAIL = 15
_MISSING = re.compile(r"Cannot find (?:package|module) '(?P<name>[^']+)'")
# Packages of the runtime that this machine does not have.
_OF_THE_RUNTIME = ("@aws-sdk/", "@smithy/", "@aws-crypto/", "@aws/")
_NOT_FOUND = frozenset({"ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"})
_CERTAIN = frozenset({"SyntaxError", "ReferenceError"})


def is_possible(target: Target, identity: str) -> bool:
    """Tell whether the Node.js of `identity` (`… 24.19.0`) is the target's, on its machine."""
    major = identity.rpartition(" ")[2].partition(".")[0]
    return (target.runtime.name, target.architecture) == (f"nodejs{major}.x", architecture_of(os.uname().machine))


def imported(
    node: Path, trial: Trial, task: Path, opt: Path, place: Path, timeout_s: float, advise: Callable[[str], str]
) -> Outcome:
    """Import the handler; the arguments are those of `builder.trials.trial`.

    Raises:
        ImportFailed: it cannot be imported, or the handler is not in it.
    """
    module, _, attribute = trial.handler.rpartition(".")
    file = next((path for ending in _ENDINGS if (path := task / f"{module}{ending}").is_file()), None)
    if file is None:
        raise ImportFailed(f"function.handler: the artifact has no {module}.js", hint="check function.files")
    # Node.js searches here after the function's own packages, also for ES modules; Lambda sets NODE_PATH for both.
    (place / "node_modules").symlink_to(opt / "nodejs/node_modules")
    order, report = place / "order.json", place / "report.json"
    order.write_text(json.dumps({"file": str(file), "attribute": attribute, "report": str(report)}))
    found = reported([str(node), str(_CHILD), str(order)], trial, task, opt, place, report, timeout_s)
    if isinstance(found, Outcome):
        return found
    return judged(found, trial, Places(task=str(task), opt=str(opt)), advise)


def judged(found: Mapping[str, object], trial: Trial, places: Places, advise: Callable[[str], str]) -> Outcome:
    """Return the outcome of an import; a report that the project's code wrote itself may lack anything."""
    found = {"names": [], "kind": "Error", "message": "", "code": None, "stack": "", **found}
    module, _, attribute = trial.handler.rpartition(".")
    if found["outcome"] == "imported":
        return Outcome(imported=True)
    if found["outcome"] == "not callable":
        raise ImportFailed(f"function.handler: {attribute} of {module} is not a function", hint="name a function")
    if found["outcome"] == "no handler":
        names = found["names"] if isinstance(found["names"], list) else []
        raise ImportFailed(
            f"function.handler: {module} exports no {attribute}{nearest(attribute, map(str, names))}",
            hint="handler is FILE.FUNCTION",
        )
    said = places.as_on_lambda(f"{found['kind']}: {found['message']}").partition("\n")[0]
    missing = _MISSING.search(str(found["message"])) if str(found["code"]) in _NOT_FOUND else None
    if missing and missing["name"].startswith(_OF_THE_RUNTIME):
        [package] = packages_in([missing["name"]])
        return Outcome(imported=False, stopped=True, why=f"{package} belongs to the runtime and is not here")
    # `JSON.parse` raises a SyntaxError for data, often a configuration that only the function has.
    if not missing and (str(found["kind"]) not in _CERTAIN or "at JSON.parse" in str(found["stack"])):
        return Outcome(imported=False, stopped=True, why=f"importing {module} stopped: {said}")
    lines = [places.as_on_lambda(line) for line in str(found["stack"]).splitlines() if "node:internal" not in line]
    name = places.as_on_lambda(missing["name"]) if missing else ""
    raise ImportFailed(
        f"function.handler: importing {module} fails: {said}",
        hint=advise(name) if name else HINT,
        log_tail=[line for line in lines if _CHILD.name not in line][-_TAIL:],
    )


def advice(name: str, manifest: Mapping[str, object]) -> str:
    """Say where the module `name` could come from; `manifest` is the project's package.json."""
    if name.startswith(("/", ".")):
        return f"{name} is not in the artifact: add it to function.files"
    [package] = packages_in([name])
    development = manifest.get("devDependencies")
    if isinstance(development, dict) and package in development:
        return f"{package} is a development dependency: run `npm install --save-prod {package}` and commit the lock"
    return f"run `npm install {package}` and commit package.json and the lock"

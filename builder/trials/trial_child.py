"""Imports a handler as Lambda would, in a child of the builder, and writes a report.

    python -I -S trial_child.py ORDER.json

The order is {"module", "attribute", "paths", "task", "report"}. Only a little of the standard library may be used
here: whatever this file imports is already imported when the project's code looks.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from types import FrameType

_UNSET: list[str] = []
# Bounds of the report, for texts, lines and links: its reader has one as well.
_MAX_TEXT = 16_000
_MAX_LINES, _MAX_LINKS, _MAX_NAMES = 200, 20, 500


def main(order_path: str) -> None:
    """Carry out the order in the file `order_path`."""
    with open(order_path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib is not imported on purpose
        order = json.load(file)
    # The path of the order is no argument of the project's.
    sys.argv = [""]
    # The layers' trees are shared and sealed.
    sys.dont_write_bytecode = True
    sys.path[:] = [*order["paths"], *sys.path]
    _note_unset_variables(order["task"])
    try:
        module = importlib.import_module(order["module"])
    except BaseException as error:  # SystemExit is an answer as well
        report = _failure(error)
    else:
        report = _attribute(module, order["attribute"])
    report["unset"] = _UNSET
    with open(order["report"], "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(report, file)
    os._exit(0)  # without waiting for the project's threads and exit handlers


def _attribute(module: object, name: str) -> dict[str, object]:
    names = [known[:200] for known in vars(module) if not known.startswith("_")]
    if not hasattr(module, name):
        names = [known for known in names if callable(getattr(module, known, None))]
        return {"outcome": "no handler", "names": names[:_MAX_NAMES]}
    return {"outcome": "imported" if callable(getattr(module, name)) else "not callable"}


def _failure(error: BaseException) -> dict[str, object]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < _MAX_LINKS:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return {
        "outcome": "failed",
        "traceback": [line[:_MAX_TEXT] for line in _traceback(error).splitlines()[-_MAX_LINES:]],
        "chain": [_described(link) for link in chain],
    }


def _described(error: BaseException) -> dict[str, object]:
    filename = getattr(error, "filename", None)
    return {
        "kinds": [f"{kind.__module__}.{kind.__qualname__}"[:200] for kind in type(error).__mro__[:50]],
        "message": _text(error)[:_MAX_TEXT],
        "name": str(name)[:500] if isinstance(error, ImportError) and (name := error.name) else None,
        "filename": filename[:4096] if isinstance(filename, str) else None,
    }


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as other:  # formatting calls methods of the project's classes
        return f"{type(error).__name__}, which cannot be shown ({type(other).__name__})"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return type(error).__name__


def _note_unset_variables(task: str) -> None:
    """Remember which environment variables the project's own code looks for in vain."""
    kind = type(os.environ)
    original = kind.__getitem__

    def noted(self: os._Environ[str], name: str) -> str:
        try:
            return original(self, name)
        except KeyError:
            # Bounded, because code that loops over names would fill the report.
            if len(_UNSET) < _MAX_LINKS and name not in _UNSET and _is_asked_from(task):
                _UNSET.append(name[:200])
            raise

    kind.__getitem__ = noted  # type: ignore[method-assign]


def _is_asked_from(task: str) -> bool:
    """Tell whether the caller, past os and its parents (frozen modules in newer Pythons), is the project's code."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(task)


def _is_library(filename: str) -> bool:
    return filename.startswith("<frozen") or filename.endswith(("/os.py", "/_collections_abc.py"))


if __name__ == "__main__":
    main(sys.argv[1])

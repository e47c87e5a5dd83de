"""Members of a reply, and the phrases made from them.

An older builder may have kept the reply, so a member that is missing or of another type is read as empty and is never
an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from builder.amounts import amount, some

Value = Mapping[str, object]


def part_of(value: Value, name: str) -> Value:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def items_of(value: Value, name: str) -> Sequence[object]:
    found = value.get(name)
    return found if isinstance(found, list | tuple) else ()


def rows_of(value: Value, name: str) -> list[Value]:
    return [row for row in items_of(value, name) if isinstance(row, Mapping)]


def text_of(value: Value, name: str) -> str:
    """Return a member that is a plain value as text, "" without one."""
    found = value.get(name)
    return "" if found is None or isinstance(found, Mapping | list | tuple) else shown(found)


def cells_of(value: Value, *names: str) -> list[str]:
    """Return several members as texts."""
    return [text_of(value, name) for name in names]


def number_of(value: Value, name: str) -> float:
    """Return a number that can be calculated with; 0 for what is infinite, or too large for a float."""
    found = value.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return 0
    try:
        return found if math.isfinite(found) else 0
    except OverflowError:
        return 0


def shown(value: object) -> str:
    """Return any value for people: texts as they are, lists of plain values with commas, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and not any(isinstance(item, Mapping | list | tuple) for item in value):
        return ", ".join(shown(item) for item in value)
    return as_json(value)


def as_json(value: object) -> str:
    """Return a value as JSON, or why it cannot be written."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "(nested too deeply to show)"
    except ValueError:  # Python writes no integers of more than some thousand digits
        return "(too long a number to show)"


def size_of(value: Value, name: str = "size", before: str = ", ") -> str:
    return f"{before}{amount(number_of(value, name))}" if value.get(name) is not None else ""


def files_of(value: Value) -> str:
    count = number_of(value, "files")
    return f"{count:.0f} file{'s' * (count != 1)}"


def commit_of(value: Value) -> str:
    """Return what was built, for a column: a commit, or `tree` and the id of the files that were sent."""
    commit = text_of(value, "commit")[:12]
    return f"tree {commit}" if commit and is_tree(value) else commit


def revision_of(value: Value) -> str:
    """Return what was built, for a sentence; "" where it is not known."""
    return f"{'' if is_tree(value) else 'commit '}{commit_of(value)}" if commit_of(value) else ""


def is_tree(value: Value) -> bool:
    """Tell whether it came from files that were sent, which have no name that git would know."""
    return value.get("ref") == ""


def present(value: object) -> str:
    """Return the value of a setting, which may not be set."""
    if value is None:
        return "not set"
    return shown(value) if value not in ("", [], {}) else "empty" if value == "" else "none"


def some_of(found: Sequence[object], most: int, joint: str = ", ") -> str:
    """Return the first of them, and how many more there are."""
    return some([shown(item) for item in found], most, joint)


def source_of(reply: Value) -> str:
    if not (revision := revision_of(reply)):
        return ""
    # Files that came with the request have no ref, and the id of their tree in place of a commit's.
    return f" from the files sent ({revision})" if is_tree(reply) else f" from {revision}"


def share_of(value: Value, part: str, limit: str) -> str:
    most = number_of(value, limit)
    of = f" of {amount(most)} ({100 * number_of(value, part) / most:.0f} %)" if most > 0 else ""
    return amount(number_of(value, part)) + of


def traffic_of(value: Value) -> str:
    return f", {100 * number_of(value, 'weight'):g} % of its traffic" if value.get("weight") is not None else ""


def seconds_of(value: Value) -> str:
    return f"{number_of(value, 'seconds'):.1f} s" if value.get("seconds") is not None else ""


def time_of(value: Value, name: str) -> str:
    return text_of(value, name)[:16].replace("T", " ")


def age(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{int(seconds // unit)} {name} ago"
    return f"{int(seconds)} s ago"


def build_there(build: Value) -> str:
    """Return the text for a build that a rollback leaves or returns to, with its age."""
    revision = f"{revision_of(build)}, " if revision_of(build) else ""
    return f"build {text_of(build, 'build_id')} ({revision}{age(number_of(build, 'age_seconds'))})"


def ending_of(build: Value) -> str:
    if error := text_of(build, "error"):
        return error
    restored, state = text_of(build, "restored"), text_of(build, "state")
    return f"back to {restored}" if restored and state == "succeeded" else state

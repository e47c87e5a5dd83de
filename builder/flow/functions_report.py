"""What a reply says to people of a project with several functions: a table with a row for each."""

from __future__ import annotations

from builder.flow.page import Page
from builder.flow.phrases import (
    Value,
    items_of,
    number_of,
    part_of,
    present,
    rows_of,
    share_of,
    some_of,
    source_of,
    text_of,
)

# Longer values of settings would hide the rest of their row.
_LONGEST_CHANGE = 40
# What a function's status is called, where its own word is not a state.
_STATES = {"create": "to create", "update": "to update", "built": "not deployed"}


def add_functions(page: Page, reply: Value, function: str) -> None:
    """Add what became of each function of a project."""
    rows = rows_of(reply, "functions")
    states = [text_of(row, "status") for row in rows]
    counts = ", ".join(f"{states.count(state)} {_STATES.get(state, state)}" for state in dict.fromkeys(states))
    restored = text_of(reply, "restored")
    whence = f" back to build {restored}" if restored else source_of(reply)
    page.add((function or "the project", "title"), f"{whence}: {counts}")
    lines = []
    for row in rows:
        files = part_of(row, "files")
        what = some_of(items_of(row, "changed"), 3) or text_of(part_of(row, "error"), "message").split("\n")[0]
        name, state = text_of(row, "name"), text_of(row, "status")
        lines.append(
            [
                text_of(row, "key"),
                _STATES.get(state, state),
                name if name != text_of(row, "key") else "",
                _share(row),
                _why(part_of(row, "plan")),
                what or ", ".join(text_of(files, component) for component in files),
            ]
        )
    titles = ["function", "state", "in Lambda", "unzipped", "why", "what"]
    shown_columns = [column for column in range(len(titles)) if column < 2 or any(row[column] for row in lines)]
    rows_shown = [[row[column] for column in shown_columns] for row in lines]
    page.table("|".join(titles[column] for column in shown_columns), rows_shown)


def _share(row: Value) -> str:
    """Return the size; of a plan, against the limit, as far as it is known before the build."""
    if not number_of(row, "unzipped"):
        return ""
    limits = part_of(part_of(row, "plan"), "limits")
    least = "at least " * (limits.get("complete") is False)
    return least + share_of({**row, **limits}, "unzipped", "max_unzipped")


def _why(plan: Value) -> str:
    """Return what makes a build or a change of settings necessary."""
    reasons = []
    for row in rows_of(plan, "components"):
        if row.get("action") == "build":
            inputs = items_of(row, "inputs")
            reasons.append(f"{text_of(row, 'name')}: {some_of(inputs, 2) if inputs else text_of(row, 'why')}")
    for row in rows_of(plan, "configuration"):
        change = f": {present(row.get('now'))} -> {present(row.get('then'))}"
        reasons.append(text_of(row, "key") + change * (len(change) <= _LONGEST_CHANGE))
    return some_of(reasons, 3, "; ")

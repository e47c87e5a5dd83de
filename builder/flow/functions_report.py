"""What a reply says to people of a project with several functions: a table with a row for each."""

from __future__ import annotations

from builder.flow.page import Page
from builder.flow.phrases import Value, items_of, part_of, rows_of, share_of, some_of, source_of, text_of

# What a function's status is called, where its own word is not a state.
_STATES = {"create": "to create", "update": "to update", "built": "not deployed"}


def add_functions(page: Page, reply: Value, function: str) -> None:
    """Add what became of each function of a project."""
    rows = rows_of(reply, "functions")
    states = [text_of(row, "status") for row in rows]
    counts = ", ".join(f"{states.count(state)} {_STATES.get(state, state)}" for state in dict.fromkeys(states))
    if "error" not in reply:
        restored = text_of(reply, "restored")
        whence = f" back to build {restored}" if restored else source_of(reply)
        page.add((function or "the project", "title"), f"{whence}: {counts}")
    lines = []
    for row in rows:
        files = part_of(row, "files")
        why = some_of(items_of(row, "changed"), 2) or text_of(part_of(row, "error"), "message").split("\n")[0]
        limits = part_of(part_of(row, "plan"), "limits")
        share = share_of({**row, **limits}, "unzipped", "max_unzipped") if "unzipped" in row else ""
        name, state = text_of(row, "name"), text_of(row, "status")
        lines.append(
            [
                text_of(row, "key"),
                _STATES.get(state, state),
                name if name != text_of(row, "key") else "",
                share,
                why or ", ".join(text_of(files, component) for component in files),
            ]
        )
    titles = ["function", "state", "in Lambda", "unzipped", "what"]
    shown_columns = [column for column in range(len(titles)) if column < 2 or any(row[column] for row in lines)]
    rows_shown = [[row[column] for column in shown_columns] for row in lines]
    page.table("|".join(titles[column] for column in shown_columns), rows_shown)

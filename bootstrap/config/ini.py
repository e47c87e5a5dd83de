"""Lines of config.ini, read by the same rules as in deploy.sh (INI_READER there).

Configparser differs: it keeps quotes and trailing comments, and treats indented lines as part of the value before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# A quoted value ends at the quote before the end of the line, or before a comment. It may contain quotes itself.
_ENDS = {quote: re.compile(rf"{quote}[ \t]*\Z|{quote}[ \t]+[#;]") for quote in "\"'"}
_COMMENT = re.compile(r"(?:^|[ \t]+)[#;].*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Line:
    """`section` is empty above the first one; `key` is lower case, None where the line is not `key = value`."""

    number: int
    section: str
    key: str | None
    value: str = field(default="", repr=False)  # the text may be a secret


def read_lines(text: str) -> Iterator[Line]:
    """Yield every line with a key or a problem; sections, comments and empty lines are left out."""
    section = ""
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.removesuffix("\r").strip(" \t")
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line[1:].partition("]")[0].strip(" \t")
            continue
        found = re.search("[=:]", line)
        if found is None:
            yield Line(number=number, section=section, key=None)
        else:
            key = re.sub(r"[ \t]", "", line[: found.start()]).lower()
            yield Line(number=number, section=section, key=key, value=_value(line[found.end() :]))


def _value(text: str) -> str:
    """Remove the quotes around a value, or the comment after it."""
    value = text.lstrip(" \t")
    end = _ENDS.get(value[:1])
    found = end.search(value, 1) if end else None
    return value[1 : found.start()] if found else _COMMENT.sub("", value, count=1).rstrip(" \t")

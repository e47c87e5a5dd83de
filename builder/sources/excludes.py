"""What no project wants in its zip, though it lies in its directory: the one list behind all doors.

The list is data (`default_excludes.json`), so that what is not Python reads it, too: Terraform by `jsondecode(file(…))`;
deploy.sh, which is copied alone, has a copy that a test compares. Each entry is a name or a pattern of a name (`*.pem`),
which counts at any depth, for files and for directories with all below them, as in a .gitignore:

- `secrets`: logins, keys and settings with values that are nobody else's business;
- `clutter`: what version control, tools and editors keep for themselves;
- `unless_nodejs`: of no use, unless the text of the build file has the word `nodejs`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

DATA = Path(__file__).with_name("default_excludes.json")


@functools.cache
def default_excludes() -> Mapping[str, tuple[str, ...]]:
    """The groups of the list by name, in its order."""
    groups = cast("dict[str, list[str]]", json.loads(DATA.read_text(encoding="utf-8")))
    return {name: tuple(patterns) for name, patterns in groups.items()}

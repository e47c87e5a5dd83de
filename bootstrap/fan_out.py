"""The state machine that fans out builds of many functions: its definition, read from a file beside this one."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bootstrap.names import Names

FILE = Path(__file__).with_name("fan_out.asl.json")


def definition(names: Names, concurrency: int) -> str:
    """Return the definition for a builder.

    Args:
        concurrency: how many invocations run at a time.
    """
    values = {
        "builder": names.function,
        "builder_arn": names.function_arn,
        "partition": names.place.partition,
        "concurrency": str(concurrency),
    }
    filled = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], FILE.read_text())
    return json.dumps(json.loads(filled), indent=2)


def same(one: str, other: str) -> bool:
    """Tell whether two definitions say the same."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False

"""Commands of a distribution: the files that an installer generates from its entry points, for a Lambda layer.

https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import configparser
import re

SHEBANG = b"#!/usr/bin/env python3\n"
_REFERENCE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<object>[\w.]+)\s*(?:\[[^\]]*\])?")
_NAME = re.compile(r"[\w][\w.-]*")


def console_scripts(entry_points: str) -> dict[str, bytes]:
    """Return file name → content for the commands in an `entry_points.txt`; invalid entries are left out."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # the documented way to keep names as they are
    try:
        parser.read_string(entry_points)
    except configparser.Error:
        return {}
    scripts = {}
    for section in ("console_scripts", "gui_scripts"):
        for name, reference in parser.items(section) if parser.has_section(section) else ():
            match = _REFERENCE.fullmatch(reference.strip())
            if match and _NAME.fullmatch(name):
                scripts[name] = _script(match["module"], match["object"])
    return scripts


def _script(module: str, target: str) -> bytes:
    name = target.partition(".")[0]
    lines = [
        "import sys",
        f"from {module} import {name}",
        "",
        'if __name__ == "__main__":',
        f"    sys.exit({target}())",
    ]
    return SHEBANG + "\n".join([*lines, ""]).encode()

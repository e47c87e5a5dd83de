"""Writes the tables of variables and outputs into the README of every Terraform module, from the modules themselves.

usage: python scripts/terraform_docs.py
"""

from __future__ import annotations

import re
from pathlib import Path

MODULES = Path(__file__).resolve().parents[1] / "integrations" / "terraform"
_BEGIN, _END = "<!-- made by scripts/terraform_docs.py -->\n", "<!-- end -->\n"
_BLOCK = re.compile(r'^(?P<kind>variable|output) "(?P<name>\w+)" \{\n(?P<body>.*?)^\}', re.DOTALL | re.MULTILINE)


def tables(module: Path) -> str:
    """Return the variables and outputs of a module, as Markdown."""
    variables = ["| variable | type | default | |", "|---|---|---|---|"]
    outputs = ["| output | |", "|---|---|"]
    for name in ("variables.tf", "outputs.tf"):
        for block in _BLOCK.finditer((module / name).read_text()):
            meaning = _string(block["body"])
            if block["kind"] == "output":
                outputs.append(f"| `{block['name']}` | {meaning} |")
            else:
                variables.append(
                    f"| `{block['name']}` | {_type(block['body'])} | {_default(block['body'])} | {meaning} |"
                )
    return "\n".join([*variables, "", *outputs, ""])


def _string(body: str) -> str:
    found = re.search(r'^  description = "((?:[^"\\]|\\.)*)"', body, re.MULTILINE)
    if found is None:
        raise LookupError(f"no description in {body}")
    return found[1].replace('\\"', '"').replace("|", "\\|").replace("**", "`**`")


def _type(body: str) -> str:
    found = re.search(r"^  type\s*= (\S+)", body, re.MULTILINE)
    if found is None:
        raise LookupError(f"no type in {body}")
    return found[1].removesuffix("({").removesuffix("(")


def _default(body: str) -> str:
    found = re.search(r"^  default\s*= (\S.*)$", body, re.MULTILINE)
    if found is None:
        return "*required*"
    return "a list" if found[1] == "[" else f"`{found[1]}`"


def with_tables(module: Path) -> str:
    """Return the module's README with current tables."""
    before, _, rest = (module / "README.md").read_text().partition(_BEGIN)
    return before + _BEGIN + tables(module) + _END + rest.partition(_END)[2]


def main() -> None:
    """Bring every README up to date."""
    for readme in sorted(MODULES.glob("*/README.md")):
        readme.write_text(with_tables(readme.parent))


if __name__ == "__main__":
    main()

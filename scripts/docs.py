"""usage: python -m scripts.docs

Writes schemas/*.schema.json, and between their markers the tables of docs/reference.md and docs/security.md, from the
code and its tests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder import errors
from builder.event.request import Action
from builder.event.table import ACTION, FIELDS
from builder.schemas import NAMES, schema, schema_text
from builder.sources.excludes import default_excludes
from builder.spec.lambda_names import FRIENDLY

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
SECURITY = ROOT / "docs" / "security.md"
ATTACKS = ROOT / "tests" / "security"
# Fixtures that tests of both isolations request.
_BOTH = frozenset({"lab", "tenancy"})
_MARKED = re.compile(r"(<!-- (?P<name>[\w-]+): written by `make docs` -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)
Schema = Mapping[str, Any]


def main() -> None:
    """Write the files that differ."""
    for path, text in written().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"docs: {path.relative_to(ROOT)} is new")


def written() -> dict[Path, str]:
    """Return everything that is generated from the code, by its file."""
    schemas = {ROOT / "schemas" / f"{name}.schema.json": schema_text(name) for name in NAMES}
    pages = {page: marked(page.read_text()) for page in (REFERENCE, SECURITY)}
    return {**schemas, **pages}


def marked(page: str) -> str:
    """Return the page with fresh tables; text outside of the markers stays."""
    tables = {
        "event": list(_event()),
        "build-file": list(_build_file(schema("build"))),
        "reply": list(_reply(schema("reply"))),
        "parts-of-the-reply": list(_parts(schema("reply")["definitions"])),  # type: ignore[arg-type]
        "errors": list(_errors()),
        "default-excludes": list(_default_excludes()),
        "attacks": list(_attacks()),
    }
    return _MARKED.sub(lambda match: match[1] + "\n".join(tables[match["name"]]) + "\n" + match[3], page)


def _table(*heads: str) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"


def _row(*cells: str) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


# --- attacks ----------------------------------------------------------------------------------------------------------


def _attacks() -> Iterator[str]:
    """Yield every test of tests/security: the subject of its file, its expectation, and its isolation."""
    yield from _table("attack", "isolation")
    for path in sorted(ATTACKS.glob("test_*.py")):
        module = ast.parse(path.read_text())
        title = (ast.get_docstring(module) or path.stem).splitlines()[0].rstrip(".")
        yield _row(f"**{title}** (`{path.name}`)", "")
        own = {each.name for each in module.body if isinstance(each, ast.FunctionDef)}
        for test in module.body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                asked = {argument.arg for argument in test.args.args}
                yield _row(test.name.removeprefix("test_").replace("_", " "), "both" if (asked & _BOTH) - own else "")


# --- events and errors ------------------------------------------------------------------------------------------------


def _event() -> Iterator[str]:
    yield from _table("field", "for", "meaning")
    for field in (ACTION, *FIELDS):
        every = set(field.actions) == set(Action)
        yield _row(f"`{field.name}`", "all" if every else ", ".join(field.actions), field.meaning)


def _errors() -> Iterator[str]:
    yield from _table("code", "statusCode", "exit", "retry helps", "")
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.LambdasmithError) and "code" in vars(value):
            if value is errors.LambdasmithError:
                continue
            meaning, retry = (value.__doc__ or "").splitlines()[0], "yes" if value.retryable else "no"
            yield _row(f"`{value.code}`", str(value.status), str(value.exit_code), retry, meaning)


def _default_excludes() -> Iterator[str]:
    yield from _table("left out", "")
    meaning = {
        "secrets": "logins, keys, state and settings",
        "clutter": "what version control, tools and editors keep for themselves",
        "unless_nodejs": "unless the build file has the word `nodejs`, comments aside",
    }
    for group, patterns in default_excludes().items():
        yield _row(" ".join(f"`{pattern}`" for pattern in patterns), meaning[group])


# --- the build file ---------------------------------------------------------------------------------------------------


def _build_file(whole: Schema) -> Iterator[str]:
    definitions = whole["definitions"]
    lambdas = {friendly: name for name, friendly in FRIENDLY.items() if friendly != "files"}
    apart = ("function", "functions", "defaults", "stages", "layers", "prune")
    beside = {key: part for key, part in whole["properties"].items() if key not in apart}
    several = {key: whole["properties"][key] for key in ("functions", "defaults", "stages")}
    function, member = (definitions[name]["properties"] for name in ("Function", "Member"))
    own = {key: member[key] for key in member if key not in function}
    parts: tuple[tuple[str, Schema, Mapping[str, str]], ...] = (
        ("function.", definitions["Function"], lambdas),
        ("function.url.", definitions["UrlSpec"], {}),
        ("", {"properties": several}, {}),
        ("functions.NAME.", {"properties": own}, {}),
        ("layers.", whole["properties"]["layers"], {}),
        ("layers.NAME.", definitions["Layer"], {}),
        ("build.go.", definitions["GoBuild"], {}),
        ("build.node.", definitions["NodeBuild"], {}),
        ("build.", definitions["CommandBuild"], {}),
        ("secrets.", definitions["SecretSpec"], {}),
        ("prune.", definitions["PruneSpec"], {}),
        ("", {"properties": beside}, {}),
    )
    yield from _table("key", "Lambda's name", "meaning")
    for prefix, part, names in parts:
        for key, described in part["properties"].items():
            needed = "required" if key in part.get("required", ()) else ""
            meaning = described["description"].rstrip(".") + "".join(
                f"; {fact}" for fact in (*_facts(described), needed) if fact
            )
            name = f"`{names[key]}`" if key in names else ""
            yield _row(f"`{prefix}{key}`", name, f"{meaning}.")
        if prefix == "layers.":
            yield _row("`layers.NAME`", "", f"{part['additionalProperties']['description']}")


def _facts(described: Schema) -> Iterator[str]:
    """Return the allowed values of a key, in words, as far as they are short."""
    allowed = [value for value in described.get("enum", ()) if value is not None]
    if allowed:
        yield _choice([f"`{value}`" if isinstance(value, str) else str(value) for value in allowed])
    if "minimum" in described:
        low, high = described["minimum"], described.get("maximum")
        yield f"{low} to {high}" if high is not None else f"at least {low}"
    if "maxLength" in described:
        yield f"at most {described['maxLength']} characters"
    if "default" in described:
        default = described["default"]
        yield f"default `{str(default).lower() if isinstance(default, bool) else default}`"


def _choice(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


# --- replies ----------------------------------------------------------------------------------------------------------


def _reply(whole: Schema) -> Iterator[str]:
    yield from _table("field", "value", "meaning")
    for name, described in whole["properties"].items():
        yield _row(f"`{name}`", _value(described), described.get("description", ""))


def _parts(definitions: Mapping[str, Schema]) -> Iterator[str]:
    yield from _table("part", "field", "value", "meaning")
    for name, part in definitions.items():
        if "properties" not in part:
            continue
        yield _row(f"**{name}**", "", "", part["description"])
        for field, described in part["properties"].items():
            maybe = "" if field in part.get("required", ()) else "if known: "
            yield _row("", f"`{field}`", maybe + _value(described), described.get("description", ""))


def _value(described: Schema) -> str:
    """Return the content of a reply's field, in few words."""
    if "$ref" in described:
        return f"**{described['$ref'].rpartition('/')[2]}**"
    for key in ("allOf", "anyOf"):
        if key in described:
            return " or ".join(_value(each) for each in described[key])
    if "enum" in described:
        return _choice([f"`{value}`" for value in described["enum"]])
    kinds = described.get("type", ())
    return " or ".join(_named(kind, described) for kind in ([kinds] if isinstance(kinds, str) else kinds)) or "any JSON"


def _named(kind: str, described: Schema) -> str:
    if kind == "array":
        return f"list of {_value(described['items'])}"
    if kind == "object":
        below = described.get("additionalProperties")
        return f"names with {_value(below)}" if isinstance(below, dict) else "object"
    words = {"string": "text", "integer": "number", "boolean": "true or false"}
    return words.get(kind, kind)


if __name__ == "__main__":
    main()

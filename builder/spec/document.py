"""Reads YAML and JSON text as plain data that still knows its lines.

Smaller than YAML on purpose: values are text, numbers, true/false, null, lists and mappings; keys are text as typed
(`on` stays "on"); dates stay text; anchors, aliases and `<<` work but cannot grow without bound; other tags are
problems, except for CloudFormation's short ones in a template: `!Ref x` is `{Ref: x}` there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from builder.errors import InvalidBuildFile

Location = tuple[str | int, ...]
"""Keys and positions from the root: ("layers", "data", "files", 0)."""

# Far above any real build file; a file of a stranger must not keep the parser busy for minutes.
_MAX_CHARACTERS, _MAX_DEPTH, _MAX_VALUES = 256_000, 30, 20_000
_HALF = re.compile(r"[\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{name}" for name in ("str", "null", "bool", "int", "float", "timestamp", "value"))
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
_PLAIN_SHORT = {"!Ref": "Ref", "!Condition": "Condition"}
_SHORT = re.compile(
    r"!(And|Base64|Cidr|Equals|FindInMap|ForEach|GetAtt|GetAZs|If|ImportValue|Join|Length|Not|Or|Select"
    r"|Split|Sub|ToJsonString|Transform)"
)
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


@dataclass(frozen=True, kw_only=True)
class Document:
    """`value` with, by location, the line of each key or item (from 1) and how its scalar was typed.

    `problems` are (line, text): readable, but surely not meant (a key given twice). `places` are the locations in the
    file of what was put together from several parts of it; without them everything is where it was typed.
    """

    value: object
    lines: Mapping[Location, int]
    typed: Mapping[Location, str]
    problems: tuple[tuple[int, str], ...]
    places: Mapping[Location, Location] = field(default_factory=dict)

    def line(self, at: Location) -> int:
        """Return the line of a location, or of the nearest one above it that is in the file."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)

    def label(self, at: Location) -> str:
        """Return a location for a message, keys as typed."""
        text = ".".join(str(part) for part in self.place(at))
        return text if text.isprintable() and len(text) <= 200 else repr(text[:200])

    def place(self, at: Location) -> Location:
        """Return where a location is in the file."""
        known = at
        while known and known not in self.places:
            known = known[:-1]
        return (*self.places[known], *at[len(known) :]) if known else at


def mapping_of(value: object) -> Mapping[str, object]:
    """Return a value of a document that should be a mapping; of anything else, an empty one."""
    return value if isinstance(value, dict) else {}


def texts_of(value: object) -> list[str]:
    """Return the texts in a value of a document that should be a list of texts."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def read_document(text: str, *, file: str) -> Document:
    """Parse a JSON file if `file` ends in .json, else a YAML file.

    Raises:
        InvalidBuildFile: it is not readable; names the line.
    """
    if len(text) > _MAX_CHARACTERS:
        raise _unreadable(file, 1, f"is longer than {_MAX_CHARACTERS:,} characters")
    building = _Building()
    text = text.removeprefix("\ufeff")
    try:
        value = _from_json(text, file, building) if file.endswith(".json") else _from_yaml(text, file, building)
    except RecursionError:
        raise _unreadable(file, 1, f"is nested deeper than {_MAX_DEPTH} levels") from None
    except _TooMuch as error:
        raise _unreadable(file, error.line, error.text) from None
    is_template = isinstance(value, dict) and "Resources" in value
    problems = building.problems if is_template else [*building.problems, *building.short]
    return Document(value=value, lines=building.lines, typed=building.typed, problems=tuple(dict.fromkeys(problems)))


class _TooMuch(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line, self.text = line, text


@dataclass(kw_only=True)
class _Building:
    lines: dict[Location, int] = field(default_factory=dict)
    typed: dict[Location, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    short: list[tuple[int, str]] = field(default_factory=list)
    values: int = 0

    def visit(self, at: Location, line: int) -> None:
        """Count a value and remember its line (that of its key, if it has one)."""
        self.lines.setdefault(at, line)
        self.values += 1
        # Counted where aliases are followed: ten lines of YAML can stand for a billion values.
        if self.values > _MAX_VALUES:
            raise _TooMuch(line, f"has more than {_MAX_VALUES:,} values (aliases count each time)")
        if len(at) > _MAX_DEPTH:
            raise _TooMuch(line, f"is nested deeper than {_MAX_DEPTH} levels")

    def written(self, text: str, at: Location, line: int) -> None:
        """Note a text that an escape has made and that cannot be written again."""
        if _HALF.search(text):
            label = ".".join(str(part) for part in at)
            what = f"{label}: {text[:80]!r}" if label else f"{text[:80]!r}"
            self.problems.append((line, f"{what} contains half of a surrogate pair"))

    def duplicate(self, at: Location, line: int) -> None:
        label = ".".join(str(part) for part in at)
        self.problems.append((line, f"{label}: is given twice (first on line {self.lines[at]})"))


def _unreadable(file: str, line: int, what: str, hint: str = "") -> InvalidBuildFile:
    message = f"{file}:{line}: {what}"
    return InvalidBuildFile(message, hint=hint or "fix the file and try again", problems=(message,))


# --- YAML -----------------------------------------------------------------------------------------------------------


def _from_yaml(text: str, file: str, building: _Building) -> object:
    try:
        # The tree of nodes instead of values: only it knows lines, and whether a key is given twice.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _unreadable(file, line, "contains a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context)
        hint = "indent with spaces, never with tabs" if "\\t" in problem else "check indentation, quotes and colons"
        if "single document" in str(error.context):
            problem, hint = "a second document begins (---)", "keep one document per file"
        line = mark.line + 1 if mark else 1
        raise _unreadable(file, line, f"is not valid YAML: {problem}", hint) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # For example an escape such as "\UFFFFFFFF" beyond Unicode.
        raise _unreadable(file, 1, f"is not valid YAML: {error}") from None
    return None if node is None else _yaml_value(node, (), building)


def _yaml_value(node: yaml.Node, at: Location, building: _Building) -> object:
    line = node.start_mark.line + 1
    building.visit(at, line)
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return _yaml_mapping(node, at, building)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_yaml_value(item, (*at, position), building) for position, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        building.written(node.value, at, line)
        building.typed.setdefault(at, node.value)
        return _yaml_scalar(node)
    label = ".".join(str(part) for part in at)
    problem = (line, f"{label}: the tag {node.tag} has no meaning here; write the value without it")
    if name := _PLAIN_SHORT.get(node.tag) or (_SHORT.fullmatch(node.tag) and f"Fn::{node.tag[1:]}"):
        building.short.append(problem)
        return {name: _yaml_value(_untagged(node), (*at, name), building)}
    building.problems.append(problem)
    return None


def _untagged(node: yaml.Node) -> yaml.Node:
    """Return a node without its own tag; of `!GetAtt A.B`, which stands for a list, the text is kept."""
    kind = "map" if isinstance(node, yaml.MappingNode) else "seq" if isinstance(node, yaml.SequenceNode) else "str"
    return type(node)(f"{_TAG}{kind}", node.value, node.start_mark, node.end_mark)


def _yaml_mapping(node: yaml.MappingNode, at: Location, building: _Building) -> dict[str, object]:
    result: dict[str, object] = {}
    merged: list[yaml.Node] = []
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            building.problems.append((line, "a key must be text, not a list or a mapping"))
        elif key.tag == f"{_TAG}merge":
            merged.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
        elif key.value in result:
            building.duplicate((*at, key.value), line)
        else:
            building.written(key.value, at, line)
            building.lines.setdefault((*at, key.value), line)
            result[key.value] = _yaml_value(value, (*at, key.value), building)
    # After the own keys, which win over merged ones, as YAML 1.1 says.
    for other in merged:
        inherited = _yaml_value(other, at, building)
        if isinstance(inherited, dict):
            result = {**inherited, **result}
        else:
            building.problems.append((other.start_mark.line + 1, "<< needs a mapping"))
    return result


def _yaml_scalar(node: yaml.ScalarNode) -> object:
    constructor = yaml.constructor.SafeConstructor()
    try:
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return constructor.construct_yaml_bool(node)
            case "int":
                return constructor.construct_yaml_int(node)
            case "float":
                return constructor.construct_yaml_float(node)
    except (ValueError, KeyError, OverflowError, yaml.YAMLError):
        pass  # `!!int x`, or more digits than Python converts: refused as text where a number is wanted
    return node.value


# --- JSON -----------------------------------------------------------------------------------------------------------


def _from_json(text: str, file: str, building: _Building) -> object:
    try:
        # Parsed twice: this finds every syntax error, so that the tokens afterwards need no checks.
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _unreadable(file, error.lineno, f"is not valid JSON: {error.msg} (column {error.colno})") from None
    except ValueError as error:
        raise _unreadable(file, 1, f"is not valid JSON: {error}") from None
    return _json_value(_Tokens(text), (), building)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


class _Tokens:
    """The tokens of valid JSON, each with its line."""

    def __init__(self, text: str) -> None:
        self._tokens = self._scan(text)
        self.next()

    @staticmethod
    def _scan(text: str) -> Iterator[tuple[str, int]]:
        line, seen = 1, 0
        for match in _JSON_TOKEN.finditer(text):
            line += text.count("\n", seen, match.start())
            seen = match.start()
            yield match[0], line

    def next(self) -> str:
        """Step on, and return the token that was current."""
        before = getattr(self, "current", "")
        self.current, self.line = next(self._tokens, ("", 0))
        return before


def _json_value(tokens: _Tokens, at: Location, building: _Building) -> object:
    line = tokens.line
    building.visit(at, line)
    first = tokens.next()
    if first == "[":
        items: list[object] = []
        while tokens.current != "]":
            items.append(_json_value(tokens, (*at, len(items)), building))
            if tokens.current == ",":
                tokens.next()
        tokens.next()
        return items
    if first == "{":
        return _json_object(tokens, at, building)
    value: object = json.loads(first)
    if isinstance(value, str):
        building.written(value, at, line)
    building.typed.setdefault(at, value if isinstance(value, str) else first)
    return value


def _json_object(tokens: _Tokens, at: Location, building: _Building) -> dict[str, object]:
    result: dict[str, object] = {}
    while tokens.current != "}":
        line, key = tokens.line, str(json.loads(tokens.next()))
        tokens.next()  # the colon
        if key in result:
            building.duplicate((*at, key), line)
        else:
            building.written(key, at, line)
            building.lines.setdefault((*at, key), line)
        result.setdefault(key, _json_value(tokens, (*at, key), building))
        if tokens.current == ",":
            tokens.next()
    tokens.next()
    return result

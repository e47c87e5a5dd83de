"""Writes a template again with the places of what was built: in place, so that comments and order stay.

The result is read again and compared with what was meant. Where the text cannot be changed in place (anchors, merged
keys), the whole template is written as JSON, which is YAML as well.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import yaml

from builder.errors import LambdasmithError
from builder.spec.document import read_document

NEW_LAYER = "LambdasmithDependencies"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a zip is: an object in S3."""

    bucket: str
    key: str

    def of(self, kind: str) -> dict[str, str]:
        """Return the value of the property that names the code of a resource of this type."""
        serverless = kind.startswith("AWS::Serverless::")
        return {"Bucket": self.bucket, "Key": self.key} if serverless else {"S3Bucket": self.bucket, "S3Key": self.key}


@dataclass(kw_only=True)
class Changes:
    """Properties to set by logical id, and resources to add."""

    properties: dict[str, dict[str, object]] = field(default_factory=dict)
    resources: dict[str, dict[str, object]] = field(default_factory=dict)

    def dependencies(self, place: Place, sha256: str, runtimes: Sequence[str]) -> str:
        """Add a layer version with a function's dependencies, once for equal content; return its logical id.

        Its name follows from the content: CloudFormation then keeps it as long as the content stays the same.
        """
        name = f"{NEW_LAYER}{sha256[:12]}"
        known = self.resources.setdefault(
            name,
            {
                "Type": "AWS::Lambda::LayerVersion",
                "Properties": {"Content": place.of("AWS::Lambda"), "CompatibleRuntimes": []},
            },
        )
        compatible = cast("dict[str, list[str]]", known["Properties"])["CompatibleRuntimes"]
        compatible += [runtime for runtime in runtimes if runtime not in compatible]
        return name

    def applied(self, template: object) -> dict[str, object]:
        """Return a copy of the template with these changes."""
        made = cast("dict[str, object]", copy.deepcopy(template))
        resources = cast("dict[str, dict[str, object]]", made["Resources"])
        for name, properties in self.properties.items():
            present = resources[name].get("Properties")
            resources[name]["Properties"] = {**(present if isinstance(present, dict) else {}), **properties}
        made["Resources"] = {**self.resources, **resources}
        return made


class _Unplaced(Exception):
    """The text has no place for a change."""


def rewritten(text: str, file: str, changes: Changes) -> str:
    """Return the text of a template with the changes made."""
    text = text.removeprefix("\ufeff")
    meant = changes.applied(read_document(text, file=file).value)
    if not file.endswith(".json"):
        made = _edited(text, changes)
        if made is not None and _is(made, file, meant):
            return made
    return json.dumps(meant, indent=2, ensure_ascii=False) + "\n"


def _is(text: str, file: str, meant: object) -> bool:
    try:
        return read_document(text, file=file).value == meant
    except LambdasmithError:
        return False


def _edited(text: str, changes: Changes) -> str | None:
    """Return the text with each change made in its place; None where a place cannot be told."""
    edits = []
    try:
        resources = _member(yaml.compose(text, Loader=yaml.SafeLoader), "Resources")
        for name, properties in changes.properties.items():
            resource = _member(resources, name)
            present = next((value for key, value in _pairs(resource) if key == "Properties"), None)
            if present is None:
                edits.append(_insertion(resource, {"Properties": properties}))
                continue
            there = dict(_pairs(present))
            edits += [_replacement(text, there[key], value) for key, value in properties.items() if key in there]
            if new := {key: value for key, value in properties.items() if key not in there}:
                edits.append(_insertion(present, new))
        if changes.resources:
            edits.append(_insertion(resources, changes.resources))
    except (_Unplaced, LookupError, StopIteration, yaml.YAMLError):
        return None
    for start, end, said in sorted(edits, reverse=True):
        text = text[:start] + said + text[end:]
    return text


def _member(node: yaml.Node | None, key: str) -> yaml.Node:
    return next(value for name, value in _pairs(node) if name == key)


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _Unplaced
    for key, value in node.value:
        yield str(key.value), value


def _replacement(text: str, node: yaml.Node, value: object) -> tuple[int, int, str]:
    start, end = node.start_mark.index, _end(node)
    end = start + len(text[start:end].rstrip())
    return start, end, json.dumps(value, ensure_ascii=False)


def _end(node: yaml.Node) -> int:
    """Return where a value really ends: what follows a block is counted in by YAML's own marks."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _insertion(node: yaml.Node, members: Mapping[str, object]) -> tuple[int, int, str]:
    """Put members before the first of a mapping."""
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise _Unplaced
    said = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in members.items()]
    if node.flow_style:
        at = node.start_mark.index + 1
        return at, at, ", ".join(said) + ", "
    first = node.value[0][0].start_mark
    return first.index, first.index, "".join(f"{line}\n{' ' * first.column}" for line in said)

"""CloudFormation templates: read, and their functions resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
_VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")


class TemplateError(ValueError):
    """The template says something that is wrong, or that is not understood here."""


def read_template(text: str) -> Json:
    """A template in JSON, or in YAML with its short forms (`!GetAtt Build.Key`)."""
    if text.lstrip().startswith("{"):
        return dict(json.loads(text))
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def short(loader: Any, tag: str, node: Any) -> Json:
        if isinstance(node, yaml.ScalarNode):
            value: Any = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)
        if tag == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}

    Loader.add_multi_constructor("!", short)
    # A date that is not quoted (AWSTemplateFormatVersion) stays text.
    Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: str(node.value))
    return dict(yaml.load(text, Loader=Loader))  # noqa: S506  # a SafeLoader


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What functions are resolved with: `ref` and `attribute` ask for resources that are there already."""

    template: Json
    parameters: Mapping[str, Any]
    pseudo: Mapping[str, str]
    ref: Callable[[str], Any] = field(repr=False)
    attribute: Callable[[str, str], Any] = field(repr=False)

    def wanted(self) -> list[str]:
        """Logical ids of the resources whose condition holds, each behind those that it needs."""
        resources = {
            name: resource
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }
        needs = {name: set(_needs(resource)) & set(resources) for name, resource in resources.items()}
        return list(TopologicalSorter(needs).static_order())

    def holds(self, condition: str) -> bool:
        """Whether one of the template's conditions is true."""
        return bool(self.value(self.template["Conditions"][condition]))

    def value(self, given: Any) -> Any:
        """`given` with every function replaced by its value.

        Raises:
            TemplateError: an unknown function or name.
        """
        if isinstance(given, list):
            return [one for one in map(self.value, given) if one is not _NOTHING]
        if not isinstance(given, dict):
            return given
        if len(given) == 1:
            [(name, argument)] = given.items()
            if name in ("Ref", "Condition"):
                return self._ref(argument) if name == "Ref" else self.holds(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        values = {name: self.value(one) for name, one in given.items()}
        return {name: one for name, one in values.items() if one is not _NOTHING}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self.pseudo:
            return self.pseudo[name]
        return self.parameters[name] if name in self.parameters else self.ref(name)

    def _function(self, name: str, argument: Any) -> Any:
        if name == "GetAtt":
            resource, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
            return self.attribute(resource, self.value(attribute))
        if name == "If":
            return self.value(argument[1 if self.holds(argument[0]) else 2])
        if name == "Sub":
            return self._sub(*(argument if isinstance(argument, list) else (argument, {})))
        given = self.value(argument)
        match name:
            case "Join":
                return str(given[0]).join(map(str, given[1]))
            case "Split":
                return given[1].split(given[0])
            case "Select":
                return given[1][int(given[0])]
            case "Equals":
                return str(given[0]) == str(given[1])
            case "Not":
                return not given[0]
            case "And":
                return all(given)
            case "Or":
                return any(given)
            case "FindInMap":
                return self.template["Mappings"][given[0]][given[1]][given[2]]
            case _:
                raise TemplateError(f"Fn::{name} is not understood here")

    def _sub(self, text: str, own: Json) -> str:
        def one(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return str(self.value(own[name]))
            resource, dot, attribute = name.partition(".")
            return str(self.attribute(resource, attribute) if dot else self._ref(name))

        return _VARIABLE.sub(one, text)


_NOTHING = object()


def _needs(value: Any) -> Iterator[str]:
    """Every name that a resource refers to."""
    if isinstance(value, list):
        for one in value:
            yield from _needs(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name == "Ref" and isinstance(one, str):
                yield one
            elif name == "DependsOn":
                yield from [one] if isinstance(one, str) else one
            elif name == "Fn::GetAtt":
                yield one.split(".")[0] if isinstance(one, str) else one[0]
            elif name == "Fn::Sub":
                text = one[0] if isinstance(one, list) else one
                yield from (found[1].partition(".")[0] for found in _VARIABLE.findall(text))
            yield from _needs(one)

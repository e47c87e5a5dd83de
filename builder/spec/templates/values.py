"""Values of a template that are known before CloudFormation sees it: literals, and what follows from parameters.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from builder.spec.document import mapping_of

_HOLE = re.compile(r"\$\{([^!][^}]*)\}")


class Unresolved(Exception):
    """A value is known only to CloudFormation, and the build needs it."""


class Values:
    """The values of one template.

    Args:
        root: the template. parameters: values instead of the parameters' defaults.
    """

    def __init__(self, root: Mapping[str, object], parameters: Mapping[str, str]) -> None:
        self._root = root
        self._parameters: Mapping[str, object] = {
            name: parameters.get(name, said.get("Default"))
            for name, said in mapping_of(root.get("Parameters")).items()
            if isinstance(said, dict)
        }
        self._secret = {
            name
            for name, said in mapping_of(root.get("Parameters")).items()
            if isinstance(said, dict) and said.get("NoEcho") in (True, "true", "True")
        }

    @property
    def parameters(self) -> Collection[str]:
        """Names of the template's parameters."""
        return self._parameters

    def is_secret(self, name: str) -> bool:
        """Tell whether CloudFormation shows a parameter's value to no one."""
        return name in self._secret

    def chosen(self, value: object) -> object:
        """Return what the conditions choose of a value, which may be known to CloudFormation alone; None for nothing.

        Raises:
            Unresolved: a condition is known to CloudFormation alone.
        """
        match value:
            case {"Fn::If": [condition, yes, no]} if isinstance(value, dict) and len(value) == 1:
                return self.chosen(yes if self._holds({"Condition": condition}, 0) else no)
            case {"Ref": "AWS::NoValue"}:
                return None
            case {"Ref": str() as name} if name in self._parameters:
                return self._parameter(name)
        return value

    def text(self, value: object) -> str:
        """Return a value as text.

        Raises:
            Unresolved: only CloudFormation knows it.
        """
        known = self._known(value)
        if isinstance(known, bool) or not isinstance(known, str | int | float):
            raise Unresolved(f"must be text, not {_kind(known)}")
        return str(known)

    def text_or_name(self, value: object) -> str:
        """Return a value as text; of one that only CloudFormation knows, what it is called there."""
        if isinstance(value, bool):
            return str(value).lower()
        try:
            return self.text(value)
        except Unresolved:
            inner = next(iter(value.values())) if isinstance(value, dict) and value else value
            parts = inner if isinstance(inner, list) else [inner]
            return ".".join(part for part in parts if isinstance(part, str)) or "unknown"

    def _known(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            return value
        [(function, argument)] = value.items()
        match function:
            case "Ref":
                return self._parameter(argument)
            case "Fn::Sub":
                return self._substituted(argument)
            case "Fn::If":
                return self._chosen(argument)
            case "Fn::FindInMap":
                return self._found(argument)
            case "Fn::Join":
                return self._joined(argument)
        raise Unresolved(f"{function} is known to CloudFormation alone, and the build needs it: write the value itself")

    def _parameter(self, name: object) -> object:
        if not isinstance(name, str) or name not in self._parameters:
            raise Unresolved(f"Ref {name} is known to CloudFormation alone, and the build needs it")
        if name in self._secret:
            raise Unresolved(f"the parameter {name} is a secret (NoEcho), and a build does not read it")
        value = self._parameters[name]
        if value is None:
            raise Unresolved(f"the parameter {name} has no default; give it a value: --parameter {name}=…")
        return value

    def _substituted(self, argument: object) -> str:
        text: object = argument
        given: Mapping[str, object] = {}
        if isinstance(argument, list) and len(argument) == 2:
            text, given = argument[0], mapping_of(argument[1])
        if not isinstance(text, str):
            raise Unresolved("Fn::Sub needs a text")

        def known(hole: re.Match[str]) -> str:
            name = hole[1].strip()
            return self.text(given[name]) if name in given else self.text({"Ref": name})

        return _HOLE.sub(known, text).replace("${!", "${")

    def _joined(self, argument: object) -> str:
        match argument:
            case [str() as between, list() as parts]:
                return between.join(map(self.text, parts))
        raise Unresolved("Fn::Join needs a text and a list")

    def _found(self, argument: object) -> object:
        if not isinstance(argument, list) or len(argument) < 3:
            raise Unresolved("Fn::FindInMap needs a map and two keys")
        found: object = self._root.get("Mappings")
        for key in argument[:3]:
            name = self.text(key)
            if name not in mapping_of(found):
                raise Unresolved(f"Fn::FindInMap: there is no {name}")
            found = mapping_of(found)[name]
        return found

    def _chosen(self, argument: object) -> object:
        if not isinstance(argument, list) or len(argument) != 3:
            raise Unresolved("Fn::If needs a condition and two values")
        return self._known(argument[1] if self._holds({"Condition": argument[0]}, 0) else argument[2])

    def _holds(self, condition: object, depth: int) -> bool:
        if not isinstance(condition, dict) or len(condition) != 1 or depth > 20:
            raise Unresolved("Fn::If: the condition cannot be read")
        [(function, argument)] = condition.items()
        arguments = argument if isinstance(argument, list) else [argument]
        if function == "Condition":
            conditions = mapping_of(self._root.get("Conditions"))
            if argument not in conditions:
                raise Unresolved(f"Fn::If: there is no condition {argument}")
            return self._holds(conditions[str(argument)], depth + 1)
        if function == "Fn::Equals" and len(arguments) == 2:
            return self.text(arguments[0]) == self.text(arguments[1])
        if function in ("Fn::And", "Fn::Or"):
            each = [self._holds(item, depth + 1) for item in arguments]
            return all(each) if function == "Fn::And" else any(each)
        if function == "Fn::Not" and len(arguments) == 1:
            return not self._holds(arguments[0], depth + 1)
        raise Unresolved(f"Fn::If: the condition {function} is known to CloudFormation alone")


def _kind(value: object) -> str:
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else str(value).lower()

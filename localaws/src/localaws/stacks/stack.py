"""CloudFormation stacks in the embedded AWS, as far as custom resources and Lambda functions need them.

This is not the service but a client that deploys a template with CloudFormation's order of requests: dependencies
first; after a failure every resource returns to its earlier properties (or is deleted if it is new); resources that
were replaced or removed from the template are deleted at the very end.

moto's CloudFormation is not enough: it invokes a custom resource's function, but neither waits for the response nor
updates, fails or deletes the resource, so a template that works there proves nothing about a real stack.

    stack = Stack(aws, "shop")
    stack.deploy(read_template(Path("template.yaml").read_text()), {"BuilderArn": arn})
    stack.delete()
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localaws.serving.server import ACCOUNT, REGION
from localaws.stacks.resources import Made, Place, ResourceFailed, kind_of
from localaws.stacks.templates import Json, Scope, TemplateError

if TYPE_CHECKING:
    from localaws.testing import Server

_IGNORED = "AWS::CDK::Metadata"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Event as in `aws cloudformation describe-stack-events`."""

    resource: str
    status: str
    reason: str = ""


class StackFailed(Exception):
    """Error: the stack could not be changed, and was rolled back. `reason` is the first failed resource's."""

    def __init__(self, stack: Stack, reason: str) -> None:
        super().__init__(f"{stack.name}: {stack.status}: {reason}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class _Present:
    """Resource that exists, or may exist after a failed attempt: `properties` are the last requested ones.

    `retained` names the policies that keep it: DeletionPolicy, UpdateReplacePolicy.
    """

    type: str
    properties: Json
    made: Made
    retained: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class _Wish:
    template: Json
    parameters: Mapping[str, Any]


class Stack:
    """Stack. `status` is CloudFormation's, `events` are in order, oldest first."""

    def __init__(self, aws: Server, name: str) -> None:
        self.aws, self.name = aws, name
        self.stack_id = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
        self.status = ""
        self.events: list[Event] = []
        self.outputs: dict[str, Any] = {}
        self._present: dict[str, _Present] = {}
        self._replaced: list[tuple[str, _Present]] = []
        self._wish = _Wish(template={"Resources": {}}, parameters={})

    def deploy(self, template: Json, parameters: Mapping[str, Any] | None = None) -> None:
        """Create the stack, or update it.

        Raises:
            StackFailed: a resource failed; the stack was rolled back.
            TemplateError: the template cannot be used here; nothing was changed.
        """
        template = deepcopy(template)
        wish = _Wish(template=template, parameters=_parameters(template, parameters or {}))
        # Before anything is made: a template that cannot be used must leave nothing.
        unknown = sorted({one["Type"] for one in template["Resources"].values() if not _is_known(one["Type"])})
        if unknown:
            raise TemplateError(f"stacks cannot have {', '.join(unknown)} here")
        word = "UPDATE" if self._present else "CREATE"
        try:
            self._apply(wish)
        except ResourceFailed as error:
            self._take_back()
            self.status = "UPDATE_ROLLBACK_COMPLETE" if word == "UPDATE" else "ROLLBACK_COMPLETE"
            raise StackFailed(self, error.reason) from error
        # Only after every resource has succeeded: a rollback needs the replaced ones.
        self._clean(wish)
        self._wish, self.status = wish, f"{word}_COMPLETE"
        outputs = template.get("Outputs", {})
        self.outputs = {name: self._scope(wish).value(output["Value"]) for name, output in outputs.items()}

    def delete(self) -> None:
        """Delete every resource.

        Raises:
            StackFailed: a resource could not be deleted.
        """
        # Reversed: a resource must go before those that it depends on.
        for name in reversed(self._scope(self._wish).wanted()):
            self._delete(name, self._present.pop(name, None))
        self.status = "DELETE_COMPLETE"

    def physical_id(self, logical_id: str) -> str:
        """Return the physical id of a resource."""
        return self._present[logical_id].made.physical_id

    def attributes(self, logical_id: str) -> Mapping[str, Any]:
        """Return the attributes of a resource for `Fn::GetAtt`."""
        return self._present[logical_id].made.attributes

    def _apply(self, wish: _Wish) -> None:
        scope = self._scope(wish)
        for name in scope.wanted():
            resource = wish.template["Resources"][name]
            if resource["Type"] == _IGNORED:
                continue
            properties = scope.value(resource.get("Properties", {}))
            present = self._present.get(name)
            if present is None or present.properties != properties:
                self._change(name, resource, properties)

    def _change(self, name: str, resource: Json, properties: Json) -> None:
        type_name, present = resource["Type"], self._present.get(name)
        kind, place = kind_of(type_name), self._place(name, type_name)
        if kind is None:
            raise TemplateError(f"stacks cannot have {type_name} here")
        policies = ("DeletionPolicy", "UpdateReplacePolicy")
        retained = frozenset(policy for policy in policies if resource.get(policy) == "Retain")
        verb = "CREATE" if present is None else "UPDATE"
        is_made = present is None or kind.is_replaced(properties, present.properties)
        try:
            if present is None or is_made:
                made = kind.create(place, properties)
            else:
                made = kind.update(place, present.made.physical_id, properties, present.properties)
        except Exception as error:
            failed = error if isinstance(error, ResourceFailed) else ResourceFailed(str(error))
            self.events.append(Event(resource=name, status=f"{verb}_FAILED", reason=failed.reason))
            if present is not None and not is_made:
                # An update was requested; how far it got is unknown, so the rollback requests the old properties again.
                self._present[name] = replace(present, properties=properties)
            # It failed, but has named an id: the rollback deletes it, as CloudFormation does.
            elif present is None and failed.physical_id:
                self._present[name] = _Present(
                    type=type_name, properties=properties, made=Made(physical_id=failed.physical_id)
                )
            raise failed from error
        self.events.append(Event(resource=name, status=f"{verb}_COMPLETE"))
        if present is not None and made.physical_id != present.made.physical_id:
            self._replaced.append((name, present))
        self._present[name] = _Present(type=type_name, properties=properties, made=made, retained=retained)

    def _take_back(self) -> None:
        """Roll back to the earlier template; resources that it does not have are deleted."""
        self._replaced, replaced = [], self._replaced
        for name, old in replaced:  # the old resource still exists; its replacement is the one to delete
            self._replaced.append((name, self._present[name]))
            self._present[name] = old
        try:
            self._apply(self._wish)
        except ResourceFailed as error:
            self.status = "UPDATE_ROLLBACK_FAILED"
            raise StackFailed(self, error.reason) from error
        self._clean(self._wish)

    def _clean(self, wish: _Wish) -> None:
        for name, old in self._replaced:
            self._delete(name, old, "UpdateReplacePolicy")
        self._replaced = []
        kept = set(self._scope(wish).wanted())
        # Reversed: a resource must go before those that it depends on.
        for name in [name for name in reversed(self._present) if name not in kept]:
            self._delete(name, self._present.pop(name))

    def _delete(self, name: str, present: _Present | None, policy: str = "DeletionPolicy") -> None:
        kind = kind_of(present.type) if present else None
        if present is None or kind is None or policy in present.retained:
            return
        try:
            kind.delete(self._place(name, present.type), present.made.physical_id, present.properties)
        except ResourceFailed as error:
            self.events.append(Event(resource=name, status="DELETE_FAILED", reason=error.reason))
            self.status = "DELETE_FAILED"
            raise StackFailed(self, error.reason) from error
        self.events.append(Event(resource=name, status="DELETE_COMPLETE"))

    def _scope(self, wish: _Wish) -> Scope:
        def attribute(name: str, wanted: str) -> Any:
            found = self._present[name].made.attributes
            if wanted not in found:
                raise ResourceFailed(
                    f"CustomResource attribute error: Vendor response doesn't contain {wanted} attribute"
                )
            return found[wanted]

        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": REGION,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.name,
            "AWS::StackId": self.stack_id,
        }
        return Scope(
            template=wish.template,
            parameters=wish.parameters,
            pseudo=pseudo,
            ref=self.physical_id,
            attribute=attribute,
        )

    def _place(self, name: str, type_name: str) -> Place:
        return Place(aws=self.aws, stack=self.name, stack_id=self.stack_id, logical_id=name, type=type_name)


def _is_known(type_name: str) -> bool:
    return type_name == _IGNORED or kind_of(type_name) is not None


def _parameters(template: Json, given: Mapping[str, Any]) -> dict[str, Any]:
    known = template.get("Parameters", {})
    missing = [name for name, one in known.items() if name not in given and "Default" not in one]
    if missing or not set(given) <= set(known):
        raise TemplateError(f"Parameters: {missing} must have values, {sorted(set(given) - set(known))} do not exist")
    values = {name: given.get(name, one.get("Default")) for name, one in known.items()}
    return {
        name: value.split(",") if known[name]["Type"] == "CommaDelimitedList" and isinstance(value, str) else value
        for name, value in values.items()
    }

"""The fast loop beside a stack: functions that it has get new code at once, and its next deploy brings the same.

Only code and layers are changed; everything else is the stack's. A function that is not in the stack yet is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, InvalidEvent
from builder.event.request import Action, Request
from builder.flow import reply
from builder.flow.member import Member, answer_of, attempt, collect, under_claim
from builder.flow.members import look_at, make_all, members_in
from builder.flow.release import leased
from builder.flow.single import Built
from builder.plan import DEPENDENCIES, FUNCTION
from builder.publishing.functions import wait_until_settled
from builder.publishing.layers import LayerContent, known_version, read_content
from builder.publishing.publish import Publisher
from builder.publishing.steps import (
    FunctionState,
    LayerChoice,
    PublishLayer,
    Step,
    UpdateCode,
    UpdateConfiguration,
    touched,
)
from builder.spec.layer_names import layer_name
from builder.spec.templates.writing import NEW_LAYER

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.context import Context
    from builder.flow.situation import Situation
    from builder.making.product import Product, Several
    from builder.plan import Artifact
    from builder.records.claim import Claim
    from builder.replies.reply import Reply

# Longest wait for someone else's update of a function to end.
_SETTLE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Functions and layer versions of a stack: physical ids by logical ones."""

    name: str
    functions: Mapping[str, str]
    layers: Mapping[str, str]


def read_stack(clients: Clients, name: str) -> Stack:
    """Return the functions and layers that a stack has now.

    Raises:
        InvalidEvent: there is no such stack.
        AwsRefused: AWS refuses to read it.
    """
    try:
        with aws_errors(f"reading stack {name}"):
            found = clients.stack_resources(name)
    except AwsRefused as error:
        if error_code(error) != "ValidationError":
            raise
        raise InvalidEvent(
            f"stack: there is no stack {name!r} in this account and region",
            hint="deploy it first: deploy.sh --package-template OUT.yaml, then sam deploy -t OUT.yaml",
        ) from error
    return Stack(
        name=name,
        functions={logical: physical for logical, kind, physical in found if kind == "AWS::Lambda::Function"},
        layers={logical: physical for logical, kind, physical in found if kind == "AWS::Lambda::LayerVersion"},
    )


def named_by(stack: Stack, several: Several, context: Context) -> Several:
    """Return the project with the functions that the stack has, called as they are called there.

    Raises:
        InvalidEvent: the build file is not a template, or the stack has none of its functions.
    """
    file = several.file
    if file.template is None or file.template.kind != "cloudformation":
        raise InvalidEvent(f"stack: {file.file} is no template of a CloudFormation stack", hint="leave out --stack")
    names = {key: stack.functions[key] for key in file.functions if stack.functions.get(key)}
    if not names:
        raise InvalidEvent(
            f"stack: {stack.name} has none of the functions of {file.file}", hint="name the stack of this template"
        )
    for key in file.functions:
        if key not in names:
            context.progress.note(f"{key} is not in stack {stack.name}: its next deploy makes it")
    functions = {key: file.functions[key] for key in names}
    return replace(several, file=replace(file, functions=functions, names=names))


def bring_several(several: Several, request: Request, whole: Situation, context: Context, claim: Claim) -> Built:
    """Build functions of a template, and bring those that their stack has what differs, once all are built.

    Raises:
        InvalidEvent: the request names a single function, or there is no such stack.
        OwnTarget, AccessDenied: a function is not one that the builder may deploy.
    """
    if not request.project:
        raise InvalidEvent(
            "stack: goes with the name of a project, not of a function", hint="name functions in components"
        )
    stack = read_stack(context.clients, request.stack)
    present = named_by(stack, several, context)
    # By what they are called there the builder's rules decide whether they may be touched.
    members = [*members_in(present.file, request, context)]
    for member in members:
        member.request = replace(member.request, action=Action.PACKAGE)
    packages = present.file.template.packages if present.file.template else {}
    look_at(members, whole, context)
    make_all(members, whole, context)
    if request.independent or not any(member.error for member in members):
        for member in members:
            if member.made is not None:
                attempt(member, _Bringing(made=member.made, stack=stack, packages=packages, whole=claim).bring)
    for member in members:
        member.request = replace(member.request, action=request.action)
    if any(member.built and member.built.reply["changed"] for member in members):
        context.progress.warn(
            f"stack {stack.name} does not know of this code yet: its next deploy brings the same "
            "(deploy.sh --package-template)"
        )
    collect(members, context.progress)
    answer: Reply = {**answer_of(members), "commit": several.commit, "ref": several.ref}
    return Built(reply=answer | reply.account(context.progress))


@dataclass(frozen=True, kw_only=True)
class _Bringing:
    made: Product
    stack: Stack
    packages: Mapping[str, str]
    whole: Claim

    def bring(self, member: Member) -> None:
        under_claim(member, self.whole, lambda claim: self._published(member, claim))

    def _published(self, member: Member, claim: Claim) -> Built:
        context, name = member.context, member.name
        update = _Update(member=member, made=self.made, stack=self.stack, packages=self.packages)
        with context.progress.phase("publish", "comparing with what is deployed"):
            timeout = min(_SETTLE_S, context.deadline.check(f"waiting for {name}"))
            state = wait_until_settled(context.clients, name, timeout_s=timeout)
            context.settings.reach.check_project(self.made.outline.spec, name)
            context.settings.reach.check_tags(name, {}, state.tags)
            target = self.made.outline.target
            if state.architecture != target.architecture:
                raise InvalidEvent(
                    f"stack: {name} is for {state.architecture}, {member.key} of the template for "
                    f"{target.architecture}",
                    hint="deploy the stack: it changes the function's architecture",
                )
            steps = update.steps(state, {})
            if not steps:
                return Built(reply={"statusCode": 200, "changed": []})
            context.settings.reach.check_steps(map(touched, steps))
            claim.take()
            hold = leased(member.request, context, claim)
            publisher = Publisher(
                name, context.clients, context.store, target, context.deadline, context.progress, confirm=hold.confirm
            )
            done = publisher.publish(update.steps, state)
        return Built(reply={"statusCode": 200, "changed": done.steps})


class _Update:
    """The way from a function's present code and layers to those that were made."""

    def __init__(self, *, member: Member, made: Product, stack: Stack, packages: Mapping[str, str]) -> None:
        self._packages = packages
        self._name, self._context, self._made, self._stack = member.name, member.context, made, stack
        self._contents: dict[str, LayerContent | None] = {}
        order = made.outline.spec.layer_order
        self._order = [each for each in order if isinstance(each, str) and each in made.artifacts]

    def steps(self, state: FunctionState | None, published: Mapping[str, str]) -> list[Step]:
        """Return what is left to do; new layers come before the code that needs them."""
        if state is None:
            return []
        attached, new = [*state.layers], list[Step]()
        for component in self._order:
            artifact = self._made.artifacts[component]
            if any((content := self._read(arn)) and content.sha256 == artifact.sha256 for arn in state.layers):
                continue
            arn = published.get(component) or self._known(component, artifact, state)
            if arn is None:
                new.append(PublishLayer(choice=self._choice(component, artifact)))
            old = next((each for each in attached if self._is_version_of(each, component)), None)
            place = attached.index(old) if old else len(attached)
            attached[place : place + 1] = [arn or component]
        steps = new
        if tuple(attached) != state.layers:
            steps.append(UpdateConfiguration(name=self._name, changes={}, layers=tuple(attached)))
        code = self._made.artifacts.get(FUNCTION)
        if code is not None and code.code_sha256 != state.code_sha256:
            steps.append(UpdateCode(name=self._name, code=code, architecture=state.architecture))
        return steps

    def _read(self, arn: str) -> LayerContent | None:
        if arn not in self._contents:
            self._contents[arn] = read_content(self._context.clients, arn)
        return self._contents[arn]

    def _known(self, component: str, artifact: Artifact, state: FunctionState) -> str | None:
        return known_version(
            self._context.clients,
            self._context.store,
            artifact,
            name=layer_name(self._name, component),
            target=self._made.outline.target,
            runtimes=self._runtimes,
            attached=state.layers,
            others=self._stack.layers.values(),
            read=self._read,
        )

    def _choice(self, component: str, artifact: Artifact) -> LayerChoice:
        layer = layer_name(self._name, component)
        return LayerChoice(component=component, layer=layer, artifact=artifact, arn=None, runtimes=self._runtimes)

    @property
    def _runtimes(self) -> tuple[str, ...]:
        function = self._made.outline.spec.function
        return function.runtimes if function else ()

    def _is_version_of(self, arn: str, component: str) -> bool:
        """Tell whether an attached version is an older one of a component: the stack's, or one that was brought."""
        if arn.rpartition(":")[0].endswith(f":layer:{layer_name(self._name, component)}"):
            return True
        names = [component]
        if component == DEPENDENCIES:
            made, needs = self._made.artifacts, self._made.outline.spec.dependencies
            names = [NEW_LAYER, *(name for name, file in self._packages.items() if file in needs and name not in made)]
        # SAM adds a hash of the layer's properties to its logical id, and we one of the content to ours.
        pattern = re.compile(rf"(?:{'|'.join(names)})(?:[0-9a-f]{{10}}|[0-9a-f]{{12}})?")
        return any(physical == arn and pattern.fullmatch(logical) for logical, physical in self._stack.layers.items())

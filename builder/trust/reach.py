"""What this builder may touch: never itself, and only what its configuration covers. Pure; asks AWS nothing.

IAM enforces the same (bootstrap/policy/). What is refused here is refused before anything was changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.arns import Arn
from builder.errors import AccessDenied, InvalidEvent
from builder.event.request import Action, Request
from builder.spec.layer_names import layer_name
from builder.trust.roles import check_allowed, is_one_of, refuse_own

if TYPE_CHECKING:
    from builder.spec.values import BuildSpec

# The tag of all that setup.py, and Terraform, make for a builder; a function with it is a builder.
OWNER_TAG = "lambdasmith:owner"
# A builder's functions have its name with one of these endings.
OWN_ENDS = ("", "-worker", "-setup")
_DEPLOYING = (Action.BUILD, Action.PLAN, Action.ROLLBACK)


@dataclass(frozen=True, kw_only=True)
class Touched:
    """Things that one step of a publication touches.

    Args:
        function: name of the function; empty for a step about a layer alone.
        role, signing: ARNs of the role and of the code signing configuration that the function gets; None if unchanged.
        layers: names of layers to publish, ARNs of layers to attach.
        settings: other settings, in Lambda's own names.
    """

    function: str = ""
    role: str | None = None
    signing: str | None = None
    layers: tuple[str, ...] = ()
    settings: object = None


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The builder's own parts, and the patterns of what it may deploy.

    Args:
        function: the builder's own name; empty on a workstation, where there is no such function.
        layer: name of its own layer.
        own_roles: ARNs of its roles.
        functions, roles, code_signing: patterns in IAM's syntax, of functions' names and of ARNs of roles and code
            signing configurations; None if only IAM knows.
        tag: name and value of a tag that every function must have.
    """

    function: str = ""
    layer: str = ""
    own_roles: tuple[str, ...] = ()
    functions: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    code_signing: tuple[str, ...] | None = None
    tag: tuple[str, str] | None = None

    def check_event(self, event: object) -> None:
        """Return unless the event, valid or not, names a part of the builder, in any form that Lambda accepts.

        Raises:
            OwnTarget: the event names one.
        """
        if not isinstance(event, Mapping):
            return
        named = [(field, event.get(field)) for field in ("function", "name", "project")]
        named += [(field, f"{value}-{event['stage']}") for field, value in named if value and event.get("stage")]
        if event.get("action") == Action.SETUP and event.get("function") == self.function:
            named = []  # setup is about the builder itself
        problems = [f"{field}: {str(value)[:170]!r}" for field, value in named if self._is_function(value)]
        attached = event.get("attached")
        layers = attached if isinstance(attached, list) else []
        problems += [f"attached: {value!r}" for value in layers if self._is_layer(value)]
        refuse_own(problems)

    def check_request(self, request: Request) -> None:
        """Return if the request concerns what the configuration covers, and publishes none of the builder's layers.

        A project's name is checked again as a function's, once it turns out to be one.

        Raises:
            InvalidEvent: it is a `setup` of another function.
            OwnTarget: a component would be published as the builder's own layer.
            AccessDenied: the function is not one that the builder may deploy.
        """
        name = request.function or ""
        if request.action is Action.SETUP and name not in ("", self.function):
            problem = f"function: setup is about the builder itself, {self.function}, not {name}"
            raise InvalidEvent(problem, hint="leave function out", problems=[problem])
        self._check_layers(name, request.components)
        if request.project:
            return  # which functions are meant is known when the build file was read
        if request.action in _DEPLOYING and self.functions is not None and not _covered(name, self.functions):
            covered = ", ".join(self.functions) or "none"
            raise AccessDenied(
                f"function {name} is not one that this builder may deploy: {covered}",
                hint="name it in `functions`, [builder] of the builder's config.ini, and run `python setup.py update`",
            )

    def check_project(self, spec: BuildSpec, function: str) -> None:
        """Return if the build file names no part of the builder.

        Raises:
            OwnTarget: it names one.
        """
        problems = []
        if spec.function is not None:
            if is_one_of(spec.function.role, self.own_roles):
                problems.append(f"{spec.at('function.role')}: {spec.function.role}")
            where = spec.at("function.configuration")
            problems += [f"{where}: {text}" for text in self._own_texts(spec.function.configuration)]
        for entry in spec.layer_order:
            if not isinstance(entry, str) and self._is_layer(entry.arn):
                problems.append(f"{spec.at(f'layers.{entry.name}')}: {entry.arn}")
        refuse_own(problems)
        self._check_layers(function, [entry for entry in spec.layer_order if isinstance(entry, str)])

    def check_steps(self, steps: Iterable[Touched]) -> None:
        """Return if all steps of a publication are allowed, so that the first is not taken in vain.

        Raises:
            OwnTarget: one concerns the builder itself.
            AccessDenied: a role is not one that the builder may give to functions.
        """
        for step in steps:
            name = step.function
            refuse_own([f"function {name}"] if self._is_function(name) else [])
            if step.role is not None:
                self._check_role(step.role, name)
            self._check_arns(step.layers)
            if step.signing is not None:
                self._check_signing(step.signing, name)
            refuse_own([f"function {name}: {text}" for text in self._own_texts(step.settings)])

    def check_tags(self, function: str, wanted: Mapping[str, str], present: Mapping[str, str] | None) -> None:
        """Return if the function is not a builder, and has, or gets, the tag that this builder requires.

        Args:
            wanted: tags that the build file names.
            present: the function's; None for a new one.

        Raises:
            OwnTarget: it is a builder, or would look like one.
            AccessDenied: it lacks the tag, or would lose it.
        """
        refuse_own(
            [f"function {function}, with tag {OWNER_TAG},"] if OWNER_TAG in {**wanted, **(present or {})} else []
        )
        if self.tag is None:
            return
        name, value = self.tag
        # IAM checks the tag of an existing function as well, but only at the first change.
        if present is not None and present.get(name) != value:
            raise AccessDenied(
                f"function {function} does not have the tag {name}={value}, and this builder deploys no others",
                hint="the function's owner can add that tag",
            )
        # The build file must not take the function out of this builder's reach.
        if wanted.get(name, value) != value:
            raise AccessDenied(
                f"function {function}: tags: {name} must be {value}",
                hint="this builder deploys functions with that tag",
            )

    def _check_signing(self, arn: str, function: str) -> None:
        if self.code_signing is not None and not _covered(arn, self.code_signing):
            raise AccessDenied(
                f"function {function}: CodeSigningConfigArn {arn} is not one that this builder may give",
                hint="name it in `code_signing`, [builder] of its config.ini, and run `python setup.py update`",
            )

    def _check_role(self, role: str, function: str) -> None:
        refuse_own([f"function {function}: role {role}"] if is_one_of(role, self.own_roles) else [])
        check_allowed(role, self.roles, "", function)

    def _check_arns(self, layers: Iterable[str]) -> None:
        refuse_own([f"layer {layer}" for layer in layers if self._is_layer(layer)])

    def _check_layers(self, function: str, components: Iterable[str]) -> None:
        named = ((each, layer_name(function, each)) for each in components)
        refuse_own([f"{each} of {function} would be layer {layer}" for each, layer in named if self._is_layer(layer)])

    def _is_function(self, text: object) -> bool:
        """Tell whether a function's name or ARN, complete or partial, with or without qualifier, is the builder's."""
        if not self.function or not isinstance(text, str):
            return False
        # Without regard to case: a name that only looks like the builder's is refused as well.
        own = {f"{self.function}{end}".lower() for end in OWN_ENDS}
        # Only the name in an ARN can be called like a builder; an alias of that name is one that no request may have.
        return not own.isdisjoint(part.strip() for part in text.lower().split(":"))

    def _is_layer(self, text: object) -> bool:
        """Tell whether a layer's name or ARN, with or without version, is that of the builder's layer."""
        if not self.layer or not isinstance(text, str):
            return False
        arn = Arn.find(text.lower().strip())
        if arn is None:
            return text.lower().partition(":")[0].strip() == self.layer.lower()
        return arn.resource.split(":")[1:2] == [self.layer.lower()] and self.account in (arn.account, None)

    @property
    def account(self) -> str | None:
        """The builder's account; None if nothing tells."""
        return next((arn.account for role in self.own_roles if (arn := Arn.find(role))), None)

    def _own_texts(self, value: object) -> Iterator[str]:
        """Yield ARNs and log groups of the builder, wherever they are in a function's settings."""
        if isinstance(value, Mapping):
            for key, item in value.items():
                if key != "Environment":  # to Lambda, variables are just text
                    yield from self._own_texts(item)
        elif isinstance(value, list | tuple):
            for item in value:
                yield from self._own_texts(item)
        elif isinstance(value, str) and self._is_own_text(value.lower()):
            yield value

    def _is_own_text(self, text: str) -> bool:
        if text.startswith("/aws/lambda/"):
            return self._is_function(text.removeprefix("/aws/lambda/"))
        arn = Arn.find(text)
        if arn is None:
            return False
        kind, _, rest = arn.resource.partition(":")
        return (arn.service == "lambda" and kind == "function" and self._is_function(rest.partition(":")[0])) or (
            arn.service == "iam" and is_one_of(text, self.own_roles)
        )


def _covered(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

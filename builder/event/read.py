"""Turns one Lambda event, checked, into a request.

Only the standard library, on purpose: `ping` and `setup` arrive while the builder still runs on its starter layer,
which has no pydantic, and a build sent then must be understood well enough to be told "run setup first".
Pydantic would also almost double the imports of a cold deploy that finds nothing to do: importing it and building a
model of the event takes 200 ms of processor time, everything else 230 ms, of which this module and what it needs take
40 ms (medians of eleven fresh processes; `python -X importtime -c "import builder.flow.tracking, pydantic"`).

Three shapes are read, the second and third forever:

    {"action": "build", "function": "thumbs", "repo": "me/thumbs", "ref": "main", "components": ["dependencies"]}
    {"action": "build function dependencies", "function": "thumbs", "repo_name": "thumbs", "branch": "main"}
    {"name": "thumbs", "architecture": "arm64", "archive": "UEsDB…"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Literal

from builder.errors import InvalidEvent
from builder.event.fields import bare, kind, shown
from builder.event.request import Action, Request
from builder.event.sources import SourceFields
from builder.event.table import (
    ACTION,
    ALIAS,
    ARCHITECTURES,
    AVAILABLE,
    BUILD_FILE,
    BUILD_ID,
    BUILDING,
    FIELDS,
    MAX_BY,
    MAX_COMPONENTS,
    MAX_COUNT,
    MAX_MEMBERS,
    MAX_PARAMETER,
    MAX_PARAMETERS,
    MAX_PAYLOAD_BYTES,
    NAME,
    PARAMETER,
    REPLY_MEMBER,
    SHELL,
    STACK,
)
from builder.nearest import nearest
from builder.paths import normalised, path_problem

# Actions that concern no single function, or may not.
_UNNAMED = (None, Action.STATUS, Action.SETUP, Action.STOP)
_FIELDS = (ACTION.name, *dict.fromkeys(field.name for field in FIELDS))

_FUNCTION, _COMPONENT, _ALIAS = re.compile(NAME), re.compile(NAME), re.compile(ALIAS)
_FUNCTION_ARN = re.compile(rf"(?:arn:[^:\s]*:lambda:[^:\s]*:)?\d{{12}}:(?:function:)?(?P<name>{NAME})(?::\S*)?")
_NAMES_OF_64 = "1 to 64 of A-Z a-z 0-9 _ -"
_BUILD_ID, _BUILD_IDS = re.compile(BUILD_ID), "1 to 128 of A-Z a-z 0-9 . _ -"
_PARAMETER = re.compile(PARAMETER)
_STACK, _STACKS = re.compile(STACK), "a letter, then up to 127 of A-Z a-z 0-9 -"
_BUILD_FILE = re.compile(BUILD_FILE)


def parse_event(event: Mapping[str, object]) -> Request:
    """Return the request that `event` describes. A field that is null counts as absent.

    Raises:
        InvalidEvent: with every problem found, each as `field: what is wrong`.
    """
    if not isinstance(event, Mapping):
        raise InvalidEvent(
            f"the event must be a JSON object, not {kind(event)}",
            hint='send for example {"action": "ping"}',
            problems=(f"the event must be a JSON object, not {kind(event)}",),
        )
    return _Reader(event).request()


def raises(event: object) -> bool:
    """Tell whether the sender of `event`, valid or not, wants failures as Lambda errors instead of replies.

    The third shape is Terraform's: its client takes any reply for a success, and looks for `bucket` in it.
    """
    if not isinstance(event, Mapping):
        return False
    wanted = event.get("on_error")
    return wanted == "raise" or (wanted is None and _is_third_shape(event))


def wants_text(event: object) -> bool:
    """Tell whether the sender of `event`, valid or not, wants the reply as text for people as well."""
    return isinstance(event, Mapping) and str(event.get("text")).lower() in ("true", SHELL)


def wants_shell(event: object) -> bool:
    """Tell whether the sender of `event`, valid or not, is deploy.sh, which takes that text in a form of its own."""
    return isinstance(event, Mapping) and event.get("text") == SHELL


def _is_third_shape(event: Mapping[str, object]) -> bool:
    return "action" not in event and {"name", "archive"} <= set(event) and "function" not in event


def shortened(reply: Mapping[str, object], event: Mapping[str, object]) -> dict[str, object]:
    """Return the members of the reply to `event` (a valid one) that it asks for, and always whether it succeeded."""
    wanted = event.get("reply")
    if not isinstance(wanted, list):
        return dict(reply)
    return {name: value for name, value in reply.items() if name in ("statusCode", "error") or name in wanted}


class _Reader(SourceFields):
    """Takes the fields of our events out of one of them."""

    def __init__(self, event: Mapping[str, object]) -> None:
        super().__init__(event)
        # The third shape is a request to package, by another name; its problems are reported under that name.
        self._name = "function"
        if _is_third_shape(self.event):
            self._name = "name"
            self.event["function"] = self.event.pop("name")
            self.event["action"] = Action.PACKAGE.value

    def request(self) -> Request:
        # Terraform removes something that it once asked for. That must work, whatever an event looks like today.
        if (tf := self.event.get("tf")) and isinstance(tf, Mapping) and tf.get("action") == "delete":
            asked = self.event.get("action")
            known = isinstance(asked, str) and asked in set(Action)
            return Request(action=Action(str(asked)) if known else Action.PING, deleted=True)
        action, words = self._action()
        self._check_any(action)
        wanted = AVAILABLE[action] if action else _FIELDS
        alias, weight = self._alias(action) if "alias" in wanted else (None, None)
        stage = (self.matching("stage", _FUNCTION, _NAMES_OF_64) or "") if "stage" in wanted else ""
        request = Request(
            action=action or Action.PING,
            function=self._staged(self._named(wanted, required=action not in _UNNAMED), stage),
            project="project" in wanted and "project" in self.event and "function" not in self.event,
            stage=stage,
            stack=(self.matching("stack", _STACK, _STACKS) or "") if "stack" in wanted else "",
            parameters=self._parameters() if "parameters" in wanted else (),
            independent=self.flag("independent") if "independent" in wanted else False,
            source=self.source(required=action in BUILDING) if "repo" in wanted else None,
            path=self._path() if "path" in wanted else "",
            build_file=self._build_file() if "build_file" in wanted else None,
            components=self._components(words) if "components" in wanted else (),
            version=self.flag("version") if "version" in wanted else False,
            alias=alias,
            weight=weight,
            payload=self._payload() if "invoke" in wanted else None,
            preview=self.flag("preview") if "preview" in wanted else False,
            build=self.matching("build", _BUILD_ID, _BUILD_IDS) if "build" in wanted else None,
            count=self.integer("count", 1, MAX_COUNT, default=Request.count) if "count" in wanted else Request.count,
            by=self.printable("by", MAX_BY),
            build_id=self.matching("build_id", _BUILD_ID, _BUILD_IDS),
            architecture=self._architecture() if "architecture" in wanted else None,
            attached=self.names("attached", _COMPONENT, MAX_COMPONENTS) if "attached" in wanted else (),
            force=self.flag("force") if "force" in wanted else False,
            publish_only=self.flag("publish_only") if "publish_only" in wanted else False,
            rights=self.flag("rights") if "rights" in wanted else False,
            upgrade=self.flag("upgrade") if "upgrade" in wanted else False,
            made=self.flag("made") if "made" in wanted else False,
            waits=raises(self.event),
        )
        if request.build_id is None and action == Action.STOP and "build_id" not in self.event:
            self.problems.append("build_id: missing; it says which build is meant")
        if self.problems:
            raise _invalid(self.problems)
        return request

    def _check_any(self, action: Action | None) -> None:
        """Note what is wrong with fields that say nothing about the request itself."""
        self._unknown(action)
        self.choice("on_error", ("reply", "raise"))
        self.names("reply", re.compile(REPLY_MEMBER), MAX_MEMBERS)
        if not wants_shell(self.event):
            self.flag("text")
        self._tf()

    def _action(self) -> tuple[Action | None, tuple[str, ...]]:
        """Return the action, and the components named behind it in the older shape."""
        known = ", ".join(sorted(AVAILABLE))
        if "action" not in self.event:
            self.problems.append(f"action: missing; it is one of {known}")
            return None, ()
        typed = self.event["action"]
        words = typed.split() if isinstance(typed, str) else []
        if not words:
            self.problems.append(f"action: must be one of {known}, not {shown(typed)}")
            return None, ()
        name = words[0].lower()
        if name not in set(Action) or (len(words) > 1 and name != Action.BUILD):
            self.problems.append(f"action: {shown(typed)} is unknown{nearest(name, AVAILABLE)}; it is one of {known}")
            return None, ()
        return Action(name), tuple(words[1:])

    def _unknown(self, action: Action | None) -> None:
        for key in self.event:
            if key not in _FIELDS:
                self.problems.append(f"{bare(key)}: unknown field{nearest(str(key), _FIELDS)}")
            elif action and key != "action" and key not in AVAILABLE[action]:
                self.problems.append(f"{key}: does not apply to the action {action.value!r}; leave it out")

    def _named(self, wanted: Collection[str], *, required: bool) -> str | None:
        """Return the name of the function, or of the project that stands for it."""
        if "function" not in wanted:
            return None
        if "project" not in wanted or "project" not in self.event:
            return self._function(required=required)
        if "function" in self.event:
            self.problems.append("project: given together with function; give one of them")
        return self.matching("project", _FUNCTION, _NAMES_OF_64)

    def _parameters(self) -> tuple[tuple[str, str], ...]:
        given = self.event.get("parameters")
        if given is None:
            return ()
        if not isinstance(given, Mapping) or len(given) > MAX_PARAMETERS:
            what = f"a mapping of at most {MAX_PARAMETERS} names to texts"
            self.problems.append(f"parameters: must be {what}, not {kind(given)}")
            return ()
        for name, value in given.items():
            if not isinstance(name, str) or not _PARAMETER.fullmatch(name):
                self.problems.append(f"parameters: {bare(name)}: a parameter's name has 1 to 255 of A-Z a-z 0-9")
            elif not isinstance(value, str) or len(value) > MAX_PARAMETER:
                # The value itself is not shown: it may be a secret.
                problem = f"must be a text of at most {MAX_PARAMETER} characters"
                self.problems.append(f"parameters: {name}: {problem}, not {kind(value)}")
        return tuple(sorted((str(name), str(value)) for name, value in given.items()))

    def _staged(self, name: str | None, stage: str) -> str | None:
        """Return the name at a stage: each stage has functions and records of its own."""
        if name is None or not stage:
            return name
        staged = name if name.endswith(f"-{stage}") else f"{name}-{stage}"
        if not _FUNCTION.fullmatch(staged):
            self.problems.append(f"stage: {shown(stage)} makes {self._name} longer than {_NAMES_OF_64}: {staged}")
        return staged

    def _function(self, *, required: bool) -> str | None:
        if required and "function" not in self.event:
            self.problems.append(f"{self._name}: missing; name the Lambda function")
        value = self.text("function")
        if value is None or _FUNCTION.fullmatch(value):
            return value
        if arn := _FUNCTION_ARN.fullmatch(value):
            # The builder deploys with its own client: another account's or region's ARN would silently become a
            # function of the same name here.
            self.problems.append(
                f"{self._name}: {shown(value)} is an ARN; write the name alone, {arn['name']} "
                "(the builder deploys into its own account and region; for a version use alias)"
            )
        else:
            self.problems.append(f"{self._name}: {shown(value)} is not allowed; use 1 to 64 of A-Z a-z 0-9 _ -")
        return None

    def _architecture(self) -> Literal["x86_64", "arm64"] | None:
        value = self.text("architecture")
        if value is None:
            return None
        if value not in ARCHITECTURES:
            self.problems.append(f"architecture: {shown(value)} is not one of {', '.join(ARCHITECTURES)}")
            return None
        return ARCHITECTURES[value]

    def _tf(self) -> None:
        """Check what aws_lambda_invocation adds with `lifecycle_scope = "CRUD"`; only a deletion has a meaning here."""
        tf = self.event.get("tf")
        if tf is not None and (not isinstance(tf, Mapping) or tf.get("action") not in ("create", "update")):
            self.problems.append(
                f"tf: must be what Terraform makes it, an object with action create, update or delete, not {shown(tf)}"
            )

    def _path(self) -> str:
        value = self.text("path") or ""
        if problem := path_problem(value):
            self.problems.append(f"path: {problem}")
            return ""
        return normalised(value)

    def _build_file(self) -> str | None:
        value = self.text("build_file")
        if value is not None and not _BUILD_FILE.fullmatch(value):
            self.problems.append(
                f"build_file: {shown(value)} must be the name of a .yaml, .yml or .json file in the project's "
                "directory (path says which directory)"
            )
            return None
        return value

    def _components(self, words: tuple[str, ...]) -> tuple[str, ...]:
        given = self.event.get("components", [])
        names = given.split() if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            self.problems.append(f"components: must be a list of names, not {shown(given)}")
            return ()
        if words and names and list(words) != list(names):
            self.problems.append("components: contradicts the components named in action; give them once")
        names = list(dict.fromkeys(names or words))
        for name in names:
            if not _COMPONENT.fullmatch(name):
                self.problems.append(f"components: {shown(name)} is not allowed; use 1 to 64 of A-Z a-z 0-9 _ -")
        if len(names) > MAX_COMPONENTS:
            self.problems.append(f"components: {len(names)} names; at most {MAX_COMPONENTS}")
        return tuple(names)

    def _alias(self, action: Action | None) -> tuple[str | None, float | None]:
        """Return name and weight, from a text or from {"name", "weight"}."""
        given = self.event.get("alias")
        if not isinstance(given, Mapping):
            return self._alias_name("alias", self.text("alias")), None
        if action in (Action.ROLLBACK, Action.VERIFY):
            self.problems.append(f"alias: must be a name for the action {action.value!r}, without a weight")
            return None, None
        for key in given:
            if key not in ("name", "weight"):
                self.problems.append(f"alias: {bare(key)}: unknown field; an alias has name and weight")
        given_name, weight = given.get("name"), given.get("weight")
        if not isinstance(given_name, str):
            self.problems.append("alias: name: missing; it says which alias gets the weight")
            given_name = None
        name = self._alias_name("alias: name", given_name)
        # A bool is an int in Python; nan compares false with everything.
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1:
            self.problems.append(
                f"alias: weight: must be a number above 0 and below 1, not {shown(weight)} "
                "(for all traffic write the alias as a string)"
            )
            return None, None
        return name, float(weight)

    def _alias_name(self, field: str, name: str | None) -> str | None:
        if name is None:
            return None
        if not _ALIAS.fullmatch(name):
            self.problems.append(f"{field}: {shown(name)} is not allowed; use 1 to 128 of A-Z a-z 0-9 _ -")
        elif name.isdigit():
            self.problems.append(f"{field}: {shown(name)} is only digits, which Lambda keeps for version numbers")
        else:
            return name
        return None

    def _payload(self) -> str | None:
        """Return the JSON text of `invoke`."""
        if "invoke" not in self.event:
            return None
        try:
            text = json.dumps(self.event["invoke"], allow_nan=False)
        except (TypeError, ValueError):
            self.problems.append("invoke: is not a JSON value")
            return None
        if len(text) > MAX_PAYLOAD_BYTES:  # as many bytes as characters: json.dumps writes ASCII
            self.problems.append(f"invoke: is {len(text)} bytes of JSON; at most {MAX_PAYLOAD_BYTES}")
        return text


def _invalid(problems: list[str]) -> InvalidEvent:
    if len(problems) == 1:
        message = f"the request is not valid: {problems[0]}"
    else:
        message = f"the request has {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
    return InvalidEvent(message, hint="fix the event and send it again", problems=problems)

"""Definitions of state machines: the Amazon States Language, read by moto's grammar and completed where that stops."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.exceptions import AWSError
from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException

Fields = Mapping[str, Any]


class InvalidDefinition(AWSError):
    TYPE = "InvalidDefinition"


def parse(definition: str) -> Any:
    """Return the program of a definition; each of its Map states knows its fields as written.

    Raises:
        InvalidDefinition: the definition cannot be run.
    """
    try:
        fields = json.loads(definition)
    except ValueError as error:
        raise _invalid("INVALID_JSON_DESCRIPTION", str(error)) from error
    if not isinstance(fields, dict):
        raise _invalid("SCHEMA_VALIDATION_FAILED", "The definition is not a JSON object")
    try:
        return _parsed(fields)
    except AWSError:
        raise
    except ASLParserException as error:
        raise _invalid("SCHEMA_VALIDATION_FAILED", "; ".join(error.errors)) from error
    except Exception as error:
        # A definition may have any shape, and moto raises whatever its components raise: ValueError, RuntimeError.
        raise _invalid("SCHEMA_VALIDATION_FAILED", str(error)) from error


def _parsed(fields: Fields) -> Any:
    maps = {name: state for name, state in _states(fields) if state.get("Type") == "Map"}
    if problems := list(_problems(fields)):
        raise _invalid("SCHEMA_VALIDATION_FAILED", "; ".join(problems))
    if missing := _missing([fields, *(state for _, state in _states(fields))]):
        raise AWSError(f"{missing} here; use JSONPath on inputs.", "NotImplementedByLocalAws", 501)
    program = _program(_readable(fields))
    for state in _map_states(program):
        component: Any = state.iteration_component
        component.fields, component.result_writer = maps.get(state.name, {}), state.result_writer
        component.batch_input = _template((component.fields.get("ItemBatcher") or {}).get("BatchInput"))
    return program


def _missing(parts: list[Any]) -> str:
    """Return what moto cannot evaluate without a Java machine; empty if it can."""
    if any(part.get("QueryLanguage") == "JSONata" for part in parts):
        return "JSONata is not evaluated"
    return "Variables are not evaluated" if any("Assign" in part for part in parts) else ""


def _program(fields: Any) -> Any:
    return AmazonStateLanguageParser.parse(json.dumps(fields))[0]


def _template(content: Any) -> Any:
    """Return a payload template as a component that can be evaluated; None without content."""
    if content is None:
        return None
    state = {"Type": "Pass", "Parameters": content, "End": True}
    return _program({"StartAt": "Batch", "States": {"Batch": state}}).states.states["Batch"].parameters


def _invalid(code: str, why: str) -> InvalidDefinition:
    return InvalidDefinition(f"Invalid State Machine Definition: '{code}: {why}'")


def _states(fields: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every state with its name, those inside of Map and Parallel states as well."""
    states = fields.get("States") if isinstance(fields, dict) else None
    for name, state in (states if isinstance(states, dict) else {}).items():
        if isinstance(state, dict):
            yield name, state
            branches = state.get("Branches")
            inner = [state.get("ItemProcessor"), state.get("Iterator")]
            for part in (*inner, *(branches if isinstance(branches, list) else ())):
                yield from _states(part)


def _problems(fields: Any) -> Iterator[str]:
    """Yield what moto finds out only when it comes to the state: transitions to states that do not exist."""
    if not isinstance(fields, dict) or not isinstance(fields.get("States"), dict):
        return
    states = fields["States"]
    start = fields.get("StartAt")
    if start not in states:
        yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {start} at /StartAt"
    for name, state in states.items():
        if not isinstance(state, dict):
            continue
        handlers = [one for key in ("Catch", "Choices") for one in state.get(key) or () if isinstance(one, dict)]
        for where, target in (
            ("Next", state.get("Next")),
            ("Default", state.get("Default")),
            *(("Next", one.get("Next")) for one in handlers),
        ):
            if target is not None and target not in states:
                yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at /States/{name}/{where}"
        branches = state.get("Branches")
        for part in (state.get("ItemProcessor"), state.get("Iterator"), *(branches or ())):
            yield from _problems(part)


def _readable(value: Any) -> Any:
    """Return a definition without what moto's grammar refuses though the language has it."""
    if isinstance(value, list):
        return [_readable(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _readable(one) for name, one in value.items()}
    # Children run alike here, express or not.
    if value.get("ExecutionType") == "EXPRESS":
        found["ExecutionType"] = "STANDARD"
    if value.get("Type") == "Map":
        # `mapruns` makes batches, from the fields as written.
        found.pop("ItemBatcher", None)
        # The grammar takes only numbers with a decimal point.
        if isinstance(percentage := value.get("ToleratedFailurePercentage"), int):
            found["ToleratedFailurePercentage"] = float(percentage)
    return found


def _map_states(part: Any, seen: set[int] | None = None) -> Iterator[StateMap]:
    """Yield the Map states of a program."""
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, StateMap):
        yield part
    if isinstance(part, (list, tuple)):
        inner: list[Any] = list(part)
    elif isinstance(part, dict):
        inner = list(part.values())
    else:
        known = type(part).__module__.startswith("moto.stepfunctions") and hasattr(part, "__dict__")
        inner = list(vars(part).values()) if known else []
    for one in inner:
        yield from _map_states(one, seen)

"""HTTP requests of the Lambda API, parsed with AWS's own service model: operation, parameters and limits.

The model comes with botocore, so every operation that exists is known by name, and its lengths, enumerations and
patterns are checked in one place; the modules behind it see only parameters of the right types.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from localaws.wire.errors import (
    InvalidRequestContentException,
    UnknownOperationException,
    ValidationException,
)

# JSON of a request or response. Members are checked against AWS's service model before other modules see them.
Json = dict[str, Any]

# Members with a more specific error of Lambda, or with limits in the model that belong to another kind of compute.
_CHECKED_ELSEWHERE = frozenset({"Runtime", "Timeout", "MemorySize", "EphemeralStorageSize", "InvocationType"})


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """HTTP request whose credential scope is `lambda`.

    `path` is percent-decoded; `body` is read whole.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    account: str
    region: str
    access_key: str
    session_token: str | None
    request_id: str


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """Status, headers and body of a response; the front adds request id and length.

    `repeated`: headers that may occur several times.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    repeated: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Operation of the service model: its address and its parameters."""

    name: str
    method: str
    pattern: re.Pattern[str]
    required_query: Mapping[str, str]
    status: int
    input_shape: str | None

    @property
    def function_name(self) -> str:
        """Name of its handler: `get_function` for GetFunction."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


@cache
def _shapes() -> Json:
    return _model()["shapes"]  # type: ignore[no-any-return]


@cache
def _model() -> Json:
    import botocore

    path = Path(botocore.__file__).parent / "data/lambda/2015-03-31/service-2.json.gz"
    plain = path.with_suffix("")
    text = plain.read_bytes() if plain.exists() else gzip.decompress(path.read_bytes())
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def operations() -> tuple[Operation, ...]:
    """Return every operation of the service model."""
    return tuple(_operation(name, model) for name, model in _model()["operations"].items())


def _operation(name: str, model: Json) -> Operation:
    path, _, query = model["http"]["requestUri"].partition("?")
    pattern = "".join(
        f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{[^}]+\})", path)
    )
    return Operation(
        name=name,
        method=model["http"]["method"],
        pattern=re.compile(pattern + "/?$"),
        required_query={key: values[0] for key, values in parse_qs(query).items()},
        status=model["http"].get("responseCode", 200),
        input_shape=model.get("input", {}).get("shape"),
    )


def find_operation(method: str, path: str, query: str) -> tuple[Operation, dict[str, str]]:
    """Return the operation that a method, decoded path and query address, and the parameters in the path.

    Raises:
        UnknownOperationException: no operation has this method and path.
    """
    given = parse_qs(query, keep_blank_values=True)
    candidates: list[tuple[Operation, dict[str, str]]] = []
    for operation in operations():
        found = operation.pattern.match(path) if operation.method == method else None
        if found and all(given.get(key) == [value] for key, value in operation.required_query.items()):
            candidates.append((operation, found.groupdict()))
    if not candidates:
        raise UnknownOperationException(f"No operation of AWS Lambda answers {method} {path}")
    # Several may fit, as query parameters also tell operations apart: the most specific one is meant.
    return max(candidates, key=lambda candidate: len(candidate[0].required_query))


def parameters(operation: Operation, request: HttpRequest, path: Mapping[str, str]) -> Json:
    """Return the input members of an operation by their API names, typed as the service model says.

    Raises:
        InvalidRequestContentException: the body is not a JSON object.
        ValidationException: members violate a length, range, pattern or enumeration; all of them are named.
    """
    if operation.input_shape is None:
        return {}
    shape = _shapes()[operation.input_shape]
    query = parse_qs(request.query, keep_blank_values=True)
    blob_payload = _is_blob(shape)
    body = {} if blob_payload else _body(request)
    found: Json = {}
    for member, reference in shape["members"].items():
        wire = reference.get("locationName", member)
        value: object
        match reference.get("location"):
            case "uri":
                value = path.get(wire)
            case "querystring":
                value = _from_query(query.get(wire), reference["shape"])
            case "header":
                value = request.headers.get(wire)
            case _:
                value = request.body if blob_payload else body.get(wire)
        if value is not None:
            found[member] = _typed(value, reference["shape"])
    problems = list(_problems(found, operation.input_shape))
    # All of them in one error, as AWS does.
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise ValidationException(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
    return found


_FAILED = "failed to satisfy constraint"


def _is_blob(shape: Json) -> bool:
    payload = shape.get("payload")
    return bool(payload) and _shapes()[shape["members"][payload]["shape"]]["type"] == "blob"


def _body(request: HttpRequest) -> Json:
    if not request.body:
        return {}
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise InvalidRequestContentException(f"Could not parse request body into json: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequestContentException("Could not parse request body into json: an object is expected")
    return body


def _from_query(values: list[str] | None, shape: str) -> object:
    if values is None:
        return None
    return values if _shapes()[shape]["type"] == "list" else values[0]


def _typed(value: object, shape: str) -> object:
    kind = _shapes()[shape]["type"]
    if isinstance(value, str) and kind in {"integer", "long"}:
        if not re.fullmatch(r"-?\d+", value):
            raise ValidationException(f"{value} is not a number")
        return int(value)
    if isinstance(value, str) and kind == "boolean":
        return value.lower() == "true"
    return value


def _lower(member: str) -> str:
    return member[0].lower() + member[1:]


def _problems(value: object, shape: str, where: str = "") -> Iterator[str]:
    """Yield what in a value violates the model, in AWS's wording."""
    model = _shapes()[shape]
    if shape in _CHECKED_ELSEWHERE:
        return
    match model["type"]:
        case "structure" if isinstance(value, dict):
            for member in model.get("required", ()):
                if value.get(member) is None:
                    path = f"{where}.{_lower(member)}" if where else _lower(member)
                    yield f"Value null at '{path}' {_FAILED}: Member must not be null"
            for member, reference in model["members"].items():
                if value.get(member) is not None:
                    path = f"{where}.{_lower(member)}" if where else _lower(member)
                    yield from _problems(value[member], reference["shape"], path)
        case "list" if isinstance(value, list):
            yield from _size_problem(value, len(value), model, where)
            for index, element in enumerate(value):
                yield from _problems(element, model["member"]["shape"], f"{where}.{index + 1}.member")
        case "string" if isinstance(value, str):
            yield from _text_problems(value, model, where)
        case "integer" | "long" if isinstance(value, int):
            for bound, word, broken in (
                ("min", "greater", value < model.get("min", value)),
                ("max", "less", value > model.get("max", value)),
            ):
                if broken:
                    rule = f"Member must have value {word} than or equal to {model[bound]}"
                    yield f"Value '{value}' at '{where}' {_FAILED}: {rule}"


def _size_problem(value: object, size: int, model: Json, where: str) -> Iterator[str]:
    for bound, word, broken in (
        ("min", "greater", size < model.get("min", size)),
        ("max", "less", size > model.get("max", size)),
    ):
        if broken:
            rule = f"Member must have length {word} than or equal to {model[bound]}"
            yield f"Value '{value}' at '{where}' {_FAILED}: {rule}"


def _text_problems(value: str, model: Json, where: str) -> Iterator[str]:
    yield from _size_problem(value, len(value), model, where)
    enumeration = model.get("enum")
    if enumeration and value not in enumeration:
        members = ", ".join(enumeration)
        yield f"Value '{value}' at '{where}' {_FAILED}: Member must satisfy enum value set: [{members}]"
    pattern = _pattern(model.get("pattern"))
    if pattern and not pattern.fullmatch(value):
        yield (
            f"Value '{value}' at '{where}' {_FAILED}: "
            f"Member must satisfy regular expression pattern: {model['pattern']}"
        )


@cache
def _pattern(text: str | None) -> re.Pattern[str] | None:
    if not text or r"\p{" in text:  # Unicode classes, which `re` does not know: left unchecked
        return None
    return re.compile(text)

"""Operations on aliases."""

from __future__ import annotations

from collections.abc import Mapping

from localaws.lambda_.calls import Call
from localaws.lambda_.functions import page
from localaws.lambda_.model import LATEST, Alias, Function
from localaws.wire.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    function_not_found,
    stale_revision,
)
from localaws.wire.requests import Json


def create_alias(call: Call) -> Json:
    params = call.params
    function = call.unqualified_function()
    with call.region.lock:
        if params["Name"] in function.aliases:
            raise ResourceConflictException(f"Alias already exists: {function.qualified(params['Name'])}")
        _check_version(function, params["FunctionVersion"])
        alias = Alias(
            name=params["Name"],
            version=params["FunctionVersion"],
            description=params.get("Description", ""),
            weights=_weights(function, params, params["FunctionVersion"]),
        )
        function.aliases[alias.name] = alias
    return _shown(function, alias)


def get_alias(call: Call) -> Json:
    function = call.unqualified_function()
    return _shown(function, _existing(function, call.params["Name"]))


def update_alias(call: Call) -> Json:
    params = call.params
    function = call.unqualified_function()
    with call.region.lock:
        old = _existing(function, params["Name"])
        if params.get("RevisionId", old.revision) != old.revision:
            raise stale_revision()
        number = params.get("FunctionVersion", old.version)
        _check_version(function, number)
        alias = Alias(
            name=old.name,
            version=number,
            description=params.get("Description", old.description),
            weights=_weights(function, params, number) if "RoutingConfig" in params else old.weights,
        )
        function.aliases[alias.name] = alias
    return _shown(function, alias)


def delete_alias(call: Call) -> Json:
    function = call.unqualified_function()
    with call.region.lock:
        function.aliases.pop(call.params["Name"], None)
    return {}


def list_aliases(call: Call) -> Json:
    function, _ = call.function()
    wanted = call.params.get("FunctionVersion")
    aliases = sorted(function.aliases.values(), key=lambda alias: alias.name)
    entries = [_shown(function, alias) for alias in aliases if wanted in (None, alias.version)]
    return page(call, "Aliases", entries, default=50)


def _existing(function: Function, name: str) -> Alias:
    alias = function.aliases.get(name)
    if alias is None:
        raise ResourceNotFoundException(f"Cannot find alias arn: {function.qualified(name)}")
    return alias


def _check_version(function: Function, number: str) -> None:
    if number != LATEST and not (number.isdigit() and int(number) in function.versions):
        raise function_not_found(function.qualified(number))


def _weights(function: Function, params: Json, number: str) -> Mapping[str, float]:
    weights = (params.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    if not weights:
        return {}
    if len(weights) > 1:
        raise InvalidParameterValueException("Number of items in AdditionalVersionWeights cannot be greater than 1")
    (other, weight), *_ = weights.items()
    if LATEST in (number, other):
        raise InvalidParameterValueException("$LATEST is not supported for an alias pointing to more than 1 version")
    if other == number:
        raise InvalidParameterValueException(
            f"Invalid function version {other}. Function version {other} is already included in routing configuration."
        )
    _check_version(function, other)
    if not 0 <= weight <= 1:
        raise InvalidParameterValueException("The weight of an additional version has to be between 0.0 and 1.0")
    return {other: float(weight)}


def _shown(function: Function, alias: Alias) -> Json:
    answer: Json = {
        "AliasArn": function.qualified(alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    }
    if alias.weights:
        answer["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return answer

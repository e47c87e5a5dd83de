"""Lists of the account's functions and layers, page by page, while there is time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from builder.aws import aws_errors
from builder.errors import FunctionMissing, OutOfTime

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.workspace.directory import Deadline

_Page = TypeVar("_Page")
# Time reserved for the invocation's reply: nothing is listed after that.
_SPARE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class FunctionVersion:
    """Version of a function; `number` is `$LATEST` or digits. `layers` maps ARNs to sizes; all in bytes, zipped."""

    function: str
    number: str
    size: int
    layers: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class LayerVersion:
    """Version of a layer; `created` is in seconds since 1970."""

    layer: str
    number: int
    arn: str
    created: float
    description: str = ""


def function_versions(clients: Clients, function: str, deadline: Deadline) -> Iterator[FunctionVersion]:
    """Yield every version of a function, `$LATEST` first, 50 per call.

    Raises:
        FunctionMissing: there is no such function.
    """
    pages = clients.lambda_.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    for page in _timed(pages, f"listing versions of {function}", deadline):
        for entry in page["Versions"]:
            yield FunctionVersion(
                function=entry.get("FunctionName", ""),
                number=entry.get("Version", ""),
                size=entry.get("CodeSize", 0),
                layers={layer.get("Arn", ""): layer.get("CodeSize", 0) for layer in entry.get("Layers", ())},
            )


def published_versions(clients: Clients, function: str, deadline: Deadline) -> Iterator[int]:
    """Yield numbers of the function's versions, without `$LATEST`."""
    for version in function_versions(clients, function, deadline):
        if version.number.isdigit():
            yield int(version.number)


def aliased_versions(clients: Clients, function: str, deadline: Deadline) -> Iterator[str]:
    """Yield the versions that an alias of the function serves, with all or a part of the traffic."""
    pages = clients.lambda_.get_paginator("list_aliases").paginate(FunctionName=function)
    for page in _timed(pages, f"listing aliases of {function}", deadline):
        for entry in page["Aliases"]:
            yield entry.get("FunctionVersion", "")
            yield from entry.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})


def layer_versions(clients: Clients, layer: str, deadline: Deadline) -> Iterator[LayerVersion]:
    """Yield every version of the layer; none if there is no such layer."""
    pages = clients.lambda_.get_paginator("list_layer_versions").paginate(LayerName=layer)
    try:
        for page in _timed(pages, f"listing versions of layer {layer}", deadline):
            for entry in page["LayerVersions"]:
                yield LayerVersion(
                    layer=layer,
                    number=entry.get("Version", 0),
                    arn=entry.get("LayerVersionArn", ""),
                    created=datetime.fromisoformat(entry.get("CreatedDate", "")).timestamp(),
                    description=entry.get("Description", ""),
                )
    except FunctionMissing:
        return


def check_time(doing: str, deadline: Deadline) -> None:
    """Return if there is time for one more call.

    Raises:
        OutOfTime: only enough time for the reply is left.
    """
    if deadline.remaining() < _SPARE_S:
        raise OutOfTime(f"{doing}: too little time is left before Lambda's limit")


def _timed(pages: Iterable[_Page], doing: str, deadline: Deadline) -> Iterator[_Page]:
    check_time(doing, deadline)
    with aws_errors(doing):
        for page in pages:
            yield page
            check_time(doing, deadline)

"""Use of the account's code storage, in total and by this builder's deployments."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from builder.aws import aws_errors
from builder.errors import AccessDenied, FunctionMissing, LambdasmithError
from builder.publishing.listing import FunctionVersion, check_time, function_versions, layer_versions
from builder.spec.layer_names import own_prefix

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.replies.accounts import Storage
    from builder.store.s3 import S3Store
    from builder.workspace.directory import Deadline

# Bounded by Lambda's rate: it answers about twelve such calls per second.
_MOST_FUNCTIONS = 100


def storage(clients: Clients, store: S3Store, *, own_layer: str, deadline: Deadline) -> Storage:
    """Return the use of the account's code storage in this region.

    It takes a call for each of our functions and layers, and for each layer version that none of our functions has.
    Other functions are not read: a list of all functions would show their variables.

    Args:
        own_layer: name of the builder's own layer.

    Returns:
        {"limit_bytes", "used_bytes"} of all, as Lambda counts them, unzipped; {"ours_bytes", "functions", "versions",
        "layers"} of ours, zipped, because Lambda gives no other size of a single version: `versions` counts
        published ones and `$LATEST`, `layers` layer versions. These are absent if there are too many functions to read
            each. {"problem"} instead if AWS refuses or time is short.
    """
    try:
        with aws_errors("reading the account's settings"):
            settings = clients.lambda_.get_account_settings()
        functions = _deployed(clients, store)
        return {
            "limit_bytes": settings["AccountLimit"].get("TotalCodeSize", 0),
            "used_bytes": settings["AccountUsage"].get("TotalCodeSize", 0),
            **(_ours(clients, functions, own_layer, deadline) if len(functions) <= _MOST_FUNCTIONS else {}),
        }
    except LambdasmithError as error:
        return {"problem": error.message}


def _deployed(clients: Clients, store: S3Store) -> set[str]:
    """Return names of the functions with a record of a build."""
    prefix = store.key("records/")
    with aws_errors("listing what was deployed"):
        pages = clients.s3.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=prefix, Delimiter="/")
        found = [folder.get("Prefix", "") for page in pages for folder in page.get("CommonPrefixes", ())]
    return {folder.removeprefix(prefix).strip("/") for folder in found}


def _ours(clients: Clients, names: set[str], own_layer: str, deadline: Deadline) -> Storage:
    versions: list[FunctionVersion] = []
    for name in sorted(names):
        # Deleted meanwhile, or no longer among the functions that the builder may deploy.
        with contextlib.suppress(FunctionMissing, AccessDenied):
            versions += function_versions(clients, name, deadline)
    sizes = {arn: size for version in versions for arn, size in version.layers.items()}
    check_time("listing layers", deadline)
    with aws_errors("listing layers"):
        pages = clients.lambda_.get_paginator("list_layers").paginate()
        layers = [layer.get("LayerName", "") for page in pages for layer in page["Layers"]]
    prefixes = tuple(own_prefix(name) for name in names)
    ours = [layer for layer in layers if layer == own_layer or layer.startswith(prefixes)]
    arns = [version.arn for layer in ours for version in layer_versions(clients, layer, deadline)]
    return {
        "ours_bytes": sum(version.size for version in versions)
        + sum(sizes.get(arn) or _size(clients, arn, deadline) for arn in arns),
        "functions": len({version.function for version in versions}),
        "versions": len(versions),
        "layers": len(arns),
    }


def _size(clients: Clients, arn: str, deadline: Deadline) -> int:
    doing = f"reading layer {arn}"
    check_time(doing, deadline)
    with aws_errors(doing):
        return clients.lambda_.get_layer_version_by_arn(Arn=arn)["Content"].get("CodeSize", 0)

"""Operations on layers."""

from __future__ import annotations

from collections.abc import Iterable

from localaws.lambda_.calls import Call
from localaws.lambda_.functions import check_upload_size, keep, page
from localaws.lambda_.model import Layer, LayerVersion, timestamp
from localaws.wire.errors import (
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from localaws.wire.requests import Json


def publish_layer_version(call: Call) -> Json:
    check_upload_size(call, "PublishLayerVersion")
    params = call.params
    name = layer_name(call)
    # Always a new version, also for the same content (Lambda API, PublishLayerVersion): AWS compares nothing.
    package = keep(call, params["Content"])()
    # The number is taken under the lock: versions published side by side must not share one.
    with call.region.lock:
        arn = f"arn:aws:lambda:{call.region.name}:{call.region.account}:layer:{name}"
        layer = call.region.layers.setdefault(name, Layer(name=name, arn=arn))
        version = LayerVersion(
            name=name,
            number=layer.next_number,
            arn=f"{arn}:{layer.next_number}",
            package=package,
            description=params.get("Description", ""),
            license=params.get("LicenseInfo", ""),
            runtimes=tuple(params.get("CompatibleRuntimes") or ()),
            architectures=tuple(params.get("CompatibleArchitectures") or ()),
            created_at=call.now,
        )
        layer.versions[version.number] = version
        layer.next_number += 1
    return _shown_with_content(call, layer, version)


def get_layer_version(call: Call) -> Json:
    layer, version = existing_version(call, layer_name(call), call.params["VersionNumber"])
    return _shown_with_content(call, layer, version)


def get_layer_version_by_arn(call: Call) -> Json:
    arn: str = call.params["Arn"]
    name, number = arn.split(":")[6:8]
    layer, version = existing_version(call, name, int(number), account=arn.split(":")[4])
    return _shown_with_content(call, layer, version)


def delete_layer_version(call: Call) -> Json:
    layer = call.region.layers.get(layer_name(call))
    if layer is not None:
        with call.region.lock:
            # Functions that have it attached keep it: AttachedLayer has the package. `next_number` stays, so the number
            # is not used again.
            layer.versions.pop(call.params["VersionNumber"], None)
            layer.policies.pop(call.params["VersionNumber"], None)
    return {}


def list_layer_versions(call: Call) -> Json:
    layer = call.region.layers.get(layer_name(call))
    versions = _compatible(call, layer.versions.values()) if layer else []
    return page(call, "LayerVersions", [_shown(version) for version in versions], default=50)


def list_layers(call: Call) -> Json:
    entries = []
    for layer in sorted(call.region.layers.values(), key=lambda layer: layer.name):
        versions = _compatible(call, layer.versions.values())
        if versions:
            entries.append(
                {"LayerName": layer.name, "LayerArn": layer.arn, "LatestMatchingVersion": _shown(versions[0])}
            )
    return page(call, "Layers", entries, default=50)


def existing_version(call: Call, name: str, number: int, *, account: str | None = None) -> tuple[Layer, LayerVersion]:
    """Return a layer and one of its versions.

    Raises:
        ResourceNotFoundException: there is no such version (any more).
    """
    region = call.region if account is None else call.all_regions(account)
    layer = region.layers.get(name)
    version = layer.versions.get(number) if layer else None
    if layer is None or version is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return layer, version


def layer_name(call: Call) -> str:
    """Return the name in LayerName, which may be an ARN."""
    text: str = call.params["LayerName"]
    if not text.startswith("arn:"):
        return text
    if text.split(":")[3] != call.region.name:
        raise InvalidParameterValueException(f"Layer {text} is not in region {call.region.name}")
    return text.split(":")[6]


def _compatible(call: Call, versions: Iterable[LayerVersion]) -> list[LayerVersion]:
    """Return the versions that pass the call's filters, newest first."""
    runtime, architecture = call.params.get("CompatibleRuntime"), call.params.get("CompatibleArchitecture")
    return sorted(
        (
            version
            for version in versions
            if (runtime is None or runtime in version.runtimes)
            and (architecture is None or architecture in version.architectures)
        ),
        key=lambda version: version.number,
        reverse=True,
    )


def _shown(version: LayerVersion) -> Json:
    answer: Json = {
        "LayerVersionArn": version.arn,
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": timestamp(version.created_at),
    }
    if version.runtimes:
        answer["CompatibleRuntimes"] = list(version.runtimes)
    if version.architectures:
        answer["CompatibleArchitectures"] = list(version.architectures)
    if version.license:
        answer["LicenseInfo"] = version.license
    return answer


def _shown_with_content(call: Call, layer: Layer, version: LayerVersion) -> Json:
    package = version.package
    content = {
        "Location": f"{call.platform.endpoint_url}/_localaws/code/{package.sha256}",
        "CodeSha256": package.code_sha256,
        "CodeSize": package.size_bytes,
    }
    return {"Content": content, "LayerArn": layer.arn, **_shown(version)}

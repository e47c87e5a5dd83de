"""Configurations of functions: parsed from requests with AWS's limits, and shown as AWS shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from localaws.iam.sts import service_may_assume
from localaws.lambda_.calls import Call
from localaws.lambda_.model import (
    LATEST,
    MAX_UNZIPPED_BYTES,
    AttachedLayer,
    Configuration,
    Function,
    Package,
    Version,
    timestamp,
)
from localaws.wire.errors import AccessDeniedException, InvalidParameterValueException, ValidationException
from localaws.wire.requests import Json

MAX_LAYERS = 5
MAX_ENVIRONMENT_BYTES = 4096


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# AWS blocks creating and updating functions with these (as of November 2026).
_RETIRED = _words(
    "nodejs nodejs4.3 nodejs4.3-edge nodejs6.10 nodejs8.10 nodejs10.x nodejs12.x nodejs14.x nodejs16.x python2.7 "
    "python3.6 python3.7 python3.8 dotnetcore1.0 dotnetcore2.0 dotnetcore2.1 dotnetcore3.1 dotnet6 go1.x ruby2.5 "
    "ruby2.7 java8 provided"
)
_CURRENT = _words(
    "nodejs18.x nodejs20.x nodejs22.x nodejs24.x nodejs26.x java8.al2 java8.al2023 java11 java11.al2023 java17 "
    "java17.al2023 java21 java25 python3.9 python3.10 python3.11 python3.12 python3.13 python3.14 python3.15 "
    "dotnet8 dotnet10 ruby3.2 ruby3.3 ruby3.4 ruby4.0 provided.al2 provided.al2023"
)
_RESERVED_VARIABLES = _words(
    "_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_NAME "
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE "
    "AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY "
    "AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_LAMBDA_RUNTIME_API AWS_LAMBDA_METADATA_API LAMBDA_TASK_ROOT "
    "LAMBDA_RUNTIME_DIR"
)
# Stored and returned as sent, without any effect.
_KEPT_AS_SENT = ("TenancyConfig", "DurableConfig", "CapacityProviderConfig", "RuntimeConfig", "AcceleratorConfig")
_ROLE = re.compile(r"arn:(aws[a-zA-Z-]*)?:iam::(\d{12}):role/?[a-zA-Z_0-9+=,.@\-_/]+")


def created(call: Call, package: Package) -> Configuration:
    """Return the checked configuration that a CreateFunction asks for, with AWS's defaults."""
    params = call.params
    image_uri = params["Code"].get("ImageUri")
    package_type = params.get("PackageType", "Zip")
    if package_type == "Zip" and not (params.get("Runtime") and params.get("Handler")):
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    blank = Configuration(
        role=params["Role"], runtime=None, handler=None, package_type=package_type, image_uri=image_uri
    )
    architectures = params.get("Architectures") or ["x86_64"]
    return changed(call, replace(blank, architecture=architectures[0]), package)


def changed(call: Call, old: Configuration, package: Package) -> Configuration:
    """Return `old` with the members of the request applied, checked against AWS's limits.

    Raises:
        InvalidParameterValueException, ValidationException: a value AWS refuses.
        AccessDeniedException: the caller may not pass the role or read a layer.
    """
    params = call.params
    new = replace(old, **_simple_members(params, old))
    if "Role" in params:
        _check_role(call, params["Role"])
    if new.runtime is not None and new.runtime != old.runtime:
        _check_runtime(new.runtime)
    _check_range("timeout", new.timeout_s, 1, 900)
    _check_range("memorySize", new.memory_mb, 128, 10_240)
    _check_range("ephemeralStorage.size", new.ephemeral_mb, 512, 10_240)
    if new.per_tenant and new.snap_start != "None":
        raise InvalidParameterValueException("SnapStart is not supported for functions with tenant isolation mode.")
    if "Environment" in params:
        new = replace(new, environment=_environment(params["Environment"].get("Variables") or {}))
    if "Layers" in params:
        new = replace(new, layers=_layers(call, params["Layers"]))
    # With the code that is there: a layer may fit alone and be too large together with it.
    check_total_size(package, new.layers)
    return new


def _simple_members(params: Json, old: Configuration) -> Json:
    """Return the fields of Configuration that a request sets unchanged."""
    fields = {
        "Role": "role",
        "Runtime": "runtime",
        "Handler": "handler",
        "Description": "description",
        "Timeout": "timeout_s",
        "MemorySize": "memory_mb",
        "VpcConfig": "vpc",
        "ImageConfig": "image",
    }
    found: Json = {field: params[member] for member, field in fields.items() if member in params}
    if "EphemeralStorage" in params:
        found["ephemeral_mb"] = params["EphemeralStorage"]["Size"]
    if "TracingConfig" in params:
        found["tracing_mode"] = params["TracingConfig"].get("Mode", "PassThrough")
    if "KMSKeyArn" in params:
        found["kms_key_arn"] = params["KMSKeyArn"] or None
    if "DeadLetterConfig" in params:
        found["dead_letter_arn"] = params["DeadLetterConfig"].get("TargetArn") or None
    if "SnapStart" in params:
        found["snap_start"] = params["SnapStart"].get("ApplyOn", "None")
    if "FileSystemConfigs" in params:
        found["file_systems"] = tuple(params["FileSystemConfigs"])
    others = {member: params[member] for member in _KEPT_AS_SENT if member in params}
    if others:
        found["others"] = {**old.others, **others}
    if "LoggingConfig" in params:
        found["logging"] = dict(params["LoggingConfig"])
    return found


def _check_role(call: Call, role: str) -> None:
    found = _ROLE.fullmatch(role)
    if found is None:
        raise ValidationException(
            f"1 validation error detected: Value '{role}' at 'role' failed to satisfy constraint: Member must satisfy "
            f"regular expression pattern: {_ROLE.pattern}"
        )
    if found[2] != call.region.account:
        raise AccessDeniedException("Cross-account pass role is not allowed.")
    # IAM checks PassRole for the caller, with the service that gets the role (IAM User Guide, id_roles_use_passrole).
    call.caller.require("iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"})
    if not service_may_assume(role, "lambda.amazonaws.com"):
        raise InvalidParameterValueException("The role defined for the function cannot be assumed by Lambda.")


def _check_runtime(runtime: str) -> None:
    if runtime in _RETIRED:
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in _CURRENT:
        raise InvalidParameterValueException(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(sorted(_CURRENT))}] or be a valid ARN"
        )


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        word, bound = ("greater", least) if value < least else ("less", most)
        raise ValidationException(
            f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
            f"Member must have value {word} than or equal to {bound}"
        )


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    bad = [name for name in variables if not re.fullmatch(r"[a-zA-Z]([a-zA-Z0-9_])+", name)]
    reserved = sorted(_RESERVED_VARIABLES & variables.keys())
    prefix = (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
    )
    if reserved:
        raise InvalidParameterValueException(
            f"{prefix}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if bad:
        raise ValidationException(
            "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must "
            "satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
        )
    if len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_ENVIRONMENT_BYTES:
        raise InvalidParameterValueException(f"{prefix}exceeded the 4KB limit.")
    return dict(variables)


def _layers(call: Call, arns: list[str]) -> tuple[AttachedLayer, ...]:
    if len(arns) > MAX_LAYERS:
        raise InvalidParameterValueException("Cannot reference more than 5 layers.")
    seen: dict[str, str] = {}
    attached = []
    for arn in arns:
        _, _, _, region, account, _, name, number = arn.split(":")
        if region != call.region.name:
            raise InvalidParameterValueException(
                f"Layers are not in the same region as the function. Layers are expected to be in region "
                f"{call.region.name}."
            )
        family = arn.rpartition(":")[0]
        if family in seen:
            raise InvalidParameterValueException(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{arn} and {seen[family]}"
            )
        seen[family] = arn
        # Lambda asks this of the caller for each layer that is attached, also for one of another account.
        call.caller.require("lambda:GetLayerVersion", arn)
        layer = call.all_regions(account).layers.get(name)
        version = layer.versions.get(int(number)) if layer else None
        if version is None:
            raise InvalidParameterValueException(f"Layer version {arn} does not exist.")
        attached.append(AttachedLayer(arn=arn, package=version.package))
    return tuple(attached)


def check_total_size(package: Package, layers: tuple[AttachedLayer, ...]) -> None:
    """Raise InvalidParameterValueException when code and layers together exceed 250 MB unzipped."""
    total = package.unzipped_bytes + sum(layer.package.unzipped_bytes for layer in layers)
    # Without layers the package alone was checked when it arrived.
    if layers and total > MAX_UNZIPPED_BYTES:
        raise InvalidParameterValueException(
            f"Function code combined with layers exceeds the maximum allowed size of {MAX_UNZIPPED_BYTES} bytes. "
            f"The actual size is {total} bytes."
        )


def shown(
    function: Function, version: Version, now: float, *, qualifier: str | None = None, with_state: bool = True
) -> Json:
    """Return the FunctionConfiguration structure of one version.

    Args:
        qualifier: suffix of the ARN, such as an alias; published versions have their number anyway.
        with_state: list operations leave out state and runtime version.
    """
    configuration = version.configuration
    suffix = qualifier or (version.number if version.number != LATEST else None)
    found: Json = {
        "FunctionName": function.name,
        "FunctionArn": function.qualified(suffix),
        "Runtime": configuration.runtime,
        "Role": configuration.role,
        "Handler": configuration.handler,
        "CodeSize": version.package.size_bytes,
        "Description": configuration.description,
        "Timeout": configuration.timeout_s,
        "MemorySize": configuration.memory_mb,
        "LastModified": timestamp(version.modified_at),
        "CodeSha256": version.package.code_sha256,
        "ConfigSha256": configuration.fingerprint(),
        "Version": version.number,
        "VpcConfig": _shown_vpc(configuration.vpc),
        "DeadLetterConfig": {"TargetArn": configuration.dead_letter_arn} if configuration.dead_letter_arn else None,
        "Environment": {"Variables": dict(configuration.environment)} if configuration.environment else None,
        "KMSKeyArn": configuration.kms_key_arn,
        "TracingConfig": {"Mode": configuration.tracing_mode},
        "RevisionId": version.revision,
        "Layers": [{"Arn": layer.arn, "CodeSize": layer.package.size_bytes} for layer in configuration.layers] or None,
        "FileSystemConfigs": list(configuration.file_systems) or None,
        "PackageType": configuration.package_type,
        "ImageConfigResponse": {"ImageConfig": configuration.image} if configuration.image else None,
        "Architectures": [configuration.architecture],
        "EphemeralStorage": {"Size": configuration.ephemeral_mb},
        "SnapStart": {"ApplyOn": configuration.snap_start, "OptimizationStatus": "Off"},
        "LoggingConfig": _shown_logging(function, version),
        **configuration.others,
    }
    if with_state:
        found |= _shown_state(function, version, now)
    return {member: value for member, value in found.items() if value is not None}


def check_untenanted(function: Function, feature: str) -> None:
    """Raise InvalidParameterValueException for a feature that functions with tenant isolation cannot have."""
    if function.latest.configuration.per_tenant:
        raise InvalidParameterValueException(
            f"{feature} not supported for functions with tenant isolation mode: {function.arn}"
        )


def _shown_vpc(vpc: Json | None) -> Json | None:
    if not vpc or not (vpc.get("SubnetIds") or vpc.get("SecurityGroupIds")):
        return None
    return {**vpc, "VpcId": "vpc-0a1b2c3d4e5f60718"}


def _shown_logging(function: Function, version: Version) -> Json:
    logging = dict(version.configuration.logging)
    shown_logging: Json = {"LogFormat": logging.get("LogFormat", "Text"), "LogGroup": function.log_group(version)}
    if shown_logging["LogFormat"] == "JSON":
        shown_logging["ApplicationLogLevel"] = logging.get("ApplicationLogLevel", "INFO")
        shown_logging["SystemLogLevel"] = logging.get("SystemLogLevel", "INFO")
    return shown_logging


def _shown_state(function: Function, version: Version, now: float) -> Json:
    found: Json = {"State": version.state(now), "LastUpdateStatus": version.last_update_status(now)}
    if found["State"] == "Pending":
        found |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        del found["LastUpdateStatus"]
    elif found["LastUpdateStatus"] == "InProgress":
        found |= {
            "LastUpdateStatusReason": "The function is being created.",
            "LastUpdateStatusReasonCode": "Creating",
        }
    runtime = version.configuration.runtime
    if runtime:
        found["RuntimeVersionConfig"] = {"RuntimeVersionArn": f"arn:aws:lambda:{function.region}::runtime:{runtime}"}
    return found

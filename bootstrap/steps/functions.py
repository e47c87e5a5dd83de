"""The builder's function and the worker's: created, then brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from bootstrap.changes import (
    AttachToWorker,
    CreateFunction,
    NeverRepeat,
    PublishStarter,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.look import SETTLE_S
from bootstrap.package import starter_layer
from bootstrap.patience import patiently
from bootstrap.state import FunctionSettings
from bootstrap.steps.hands import BUSY_PATIENCE_S, IAM_PATIENCE_S, Hands
from builder.amounts import megabytes
from builder.aws import aws_errors, error_code
from builder.errors import FunctionBusy, LambdasmithError
from builder.publishing.functions import wait_until_settled

if TYPE_CHECKING:
    from types_boto3_lambda.literals import ArchitectureType, RuntimeType
    from types_boto3_lambda.type_defs import EnvironmentTypeDef, EphemeralStorageTypeDef, TenancyConfigTypeDef


class Configuration(TypedDict):
    """Arguments that CreateFunction and UpdateFunctionConfiguration share."""

    Runtime: RuntimeType
    Handler: str
    Role: str
    MemorySize: int
    Timeout: int
    EphemeralStorage: EphemeralStorageTypeDef
    Description: str
    Environment: EnvironmentTypeDef
    Layers: NotRequired[Sequence[str]]


class Tenancy(TypedDict, total=False):
    """Argument of CreateFunction alone."""

    TenancyConfig: TenancyConfigTypeDef


def publish_starter(step: PublishStarter, hands: Hands) -> None:
    archive = hands.work / "starter.zip"
    hands.tell(step, "downloading boto3 and pip")
    starter_layer(
        archive,
        runtime=step.runtime,
        work=hands.work,
        environment=hands.environment,
        index_url=hands.index_url,
    )
    hands.tell(step, f"uploading {megabytes(archive.stat().st_size)}")
    # 4 MB, far below the 50 MB of a direct upload: no bucket is needed, and nothing stays in one.
    published = hands.clients.lambda_.publish_layer_version(
        LayerName=step.layer,
        Description=step.description,
        Content={"ZipFile": archive.read_bytes()},
        CompatibleRuntimes=[cast("RuntimeType", step.runtime)],
    )
    hands.starter_arn = published["LayerVersionArn"]


def create_function(step: CreateFunction, hands: Hands) -> None:
    configuration = _configuration(step.settings)
    configuration["Layers"] = [step.layer or hands.starter_arn]
    # Lambda takes TenancyConfig at creation only (Lambda API, CreateFunction).
    tenancy: Tenancy = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}} if step.per_tenant else {}

    def create() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.create_function(
                FunctionName=step.function,
                **configuration,
                **tenancy,
                Code={"ZipFile": step.code},
                Architectures=[cast("ArchitectureType", step.architecture)],
                # In the same call: a run that dies before a second one would leave a function that no later run takes
                # for ours.
                Tags=hands.names.tags,
            )

    def retry(error: LambdasmithError) -> bool:
        young = _role_is_young(error)
        if young:
            hands.tell(step, "waiting until Lambda knows the new role")
        return young

    patiently(create, retry=retry, patience_s=IAM_PATIENCE_S)
    # Until then Lambda refuses the next change with ResourceConflictException (Lambda Developer Guide,
    # functions-states).
    hands.tell(step, "waiting until it is active")
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)


def _role_is_young(error: LambdasmithError) -> bool:
    """Return whether Lambda does not know a new role yet: IAM takes some seconds to propagate it."""
    return error_code(error) == "InvalidParameterValueException" and "assumed" in error.message


def _configuration(settings: FunctionSettings) -> Configuration:
    return {
        "Runtime": cast("RuntimeType", settings.runtime),
        "Handler": settings.handler,
        "Role": settings.role,
        "MemorySize": settings.memory_mb,
        "Timeout": settings.timeout_s,
        "EphemeralStorage": {"Size": settings.ephemeral_storage_mb},
        "Description": settings.description,
        "Environment": {"Variables": settings.environment},
    }


def update_configuration(step: UpdateConfiguration, hands: Hands) -> None:
    configuration = _configuration(step.settings)
    if step.layer is not None:
        # Lambda unpacks layers in this order: what the operator has attached covers ours (Lambda Developer Guide,
        # packaging-layers).
        configuration["Layers"] = [step.layer or hands.starter_arn, *step.layers]

    def update() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.update_function_configuration(FunctionName=step.function, **configuration)

    # Both may be in the way: a role from a step before, and an update by someone else.
    patiently(update, retry=_role_or_function_not_ready, patience_s=IAM_PATIENCE_S)
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)


def _role_or_function_not_ready(error: LambdasmithError) -> bool:
    return isinstance(error, FunctionBusy) or _role_is_young(error)


def update_code(step: UpdateCode, hands: Hands) -> None:
    def update() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.update_function_code(
                FunctionName=step.function,
                ZipFile=step.code,
                # Always named: left out, it means x86_64, also for a function that has arm64 (Lambda API,
                # UpdateFunctionCode).
                Architectures=[cast("ArchitectureType", step.architecture)],
            )

    patiently(update, retry=lambda error: isinstance(error, FunctionBusy), patience_s=BUSY_PATIENCE_S)
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)


def never_repeat(step: NeverRepeat, hands: Hands) -> None:
    def put() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.put_function_event_invoke_config(FunctionName=step.function, MaximumRetryAttempts=0)

    patiently(put, retry=lambda error: isinstance(error, FunctionBusy), patience_s=BUSY_PATIENCE_S)


def attach_to_worker(step: AttachToWorker, hands: Hands) -> None:
    lambda_ = hands.clients.lambda_

    def layers_of(function: str) -> tuple[list[str], list[str]]:
        """Return the versions of the builder's own layer that a function has, and its other layers."""
        present = lambda_.get_function_configuration(FunctionName=function)
        every = [layer.get("Arn", "") for layer in present.get("Layers", [])]
        own = [arn for arn in every if arn.startswith(f"{step.layer}:")]
        return own, [arn for arn in every if arn not in own]

    def attach() -> None:
        with aws_errors(step.sentence):
            # Read again at each attempt: whoever kept the function busy may have changed its layers.
            wanted, (own, others) = layers_of(step.builder)[0], layers_of(step.function)
            if own != wanted:
                lambda_.update_function_configuration(FunctionName=step.function, Layers=[*wanted, *others])

    patiently(attach, retry=lambda error: isinstance(error, FunctionBusy), patience_s=BUSY_PATIENCE_S)
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)

"""Execution of steps. Every step may be repeated: the next run finishes an interrupted one."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast
from urllib.parse import urlsplit

from bootstrap import lifecycle
from bootstrap.changes import (
    AllowSetUp,
    AttachToWorker,
    CreateFunction,
    DeleteFunction,
    DeleteLayers,
    DeleteLogGroup,
    DeleteRole,
    DeleteSecret,
    EmptyBucket,
    EndSetUp,
    MakeBucket,
    MakeLogGroup,
    NeverRepeat,
    PublishStarter,
    PutLifecycle,
    PutRole,
    PutSecret,
    SetUp,
    Step,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.invoke import Ping, call, ping
from bootstrap.names import Names
from bootstrap.package import starter_layer
from bootstrap.patience import patiently
from bootstrap.policy.roles import POLICY_NAME
from bootstrap.state import SETTLE_S, FunctionSettings
from builder.amounts import megabytes
from builder.aws import Clients, Expected, aws_errors, error_code
from builder.errors import AccessDenied, AwsRefused, FunctionBusy, LambdasmithError, NotSetUp
from builder.publishing.functions import wait_until_settled

if TYPE_CHECKING:
    from types_boto3_lambda.literals import ArchitectureType, RuntimeType
    from types_boto3_lambda.type_defs import EnvironmentTypeDef, EphemeralStorageTypeDef, TenancyConfigTypeDef
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import CreateBucketConfigurationTypeDef, ObjectIdentifierTypeDef


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


# A new role is usable after about ten seconds, rarely later.
_IAM_PATIENCE_S = 90.0
# Secrets Manager frees the name of a deleted secret a little later.
_SECRET_PATIENCE_S = 30.0
# Lambda applies most updates of a function within seconds, and refuses another one meanwhile.
_BUSY_PATIENCE_S = 60.0


@dataclass
class Hands:
    """Context of the steps, and the results that they leave for later ones.

    Args:
        work: an empty temporary directory; the caller removes it.
        environment: the operator's, for the download of the starter layer.
        tell: receives a sentence from a step that takes long.
    """

    clients: Clients
    names: Names
    work: Path
    environment: Mapping[str, str]
    index_url: str | None
    tell: Callable[[Step, str], None]
    starter_arn: str = ""
    ping: Ping | None = None
    notes: list[str] = field(default_factory=list)
    opened: bool = False  # the builder may change itself now, by this run or by the one before
    closed: bool = False  # the run is over: nothing may be opened any more
    lock: threading.Lock = field(default_factory=threading.Lock)


def carry_out(step: Step, hands: Hands) -> None:
    """Make the change.

    Raises:
        LambdasmithError: AWS or the builder refused.
    """
    with aws_errors(step.sentence):
        match step:
            case MakeBucket():
                _make_bucket(step, hands)
            case PutLifecycle():
                lifecycle.put(hands.clients, hands.names, step.bucket, step.rules)
            case PutSecret():
                _put_secret(step, hands)
            case PutRole():
                _put_role(step, hands)
            case MakeLogGroup():
                hands.clients.logs.create_log_group(logGroupName=step.group, tags=hands.names.tags)
            case PublishStarter():
                _publish_starter(step, hands)
            case CreateFunction():
                _create_function(step, hands)
            case UpdateConfiguration():
                _update_configuration(step, hands)
            case UpdateCode():
                _update_code(step, hands)
            case NeverRepeat():
                _never_repeat(step, hands)
            case AllowSetUp():
                _allow_set_up(step, hands)
            case SetUp():
                _set_up(step, hands)
            case AttachToWorker():
                _attach_to_worker(step, hands)
            case EndSetUp():
                _end_set_up(step, hands)
            case _:
                _take_away(step, hands)


def _take_away(step: Step, hands: Hands) -> None:
    clients = hands.clients
    with _gone_is_fine():
        match step:
            case DeleteFunction():
                clients.lambda_.delete_function(FunctionName=step.function)
            case DeleteLayers():
                for version in step.versions:
                    clients.lambda_.delete_layer_version(LayerName=step.layer, VersionNumber=version)
            case DeleteRole():
                with _gone_is_fine():
                    clients.iam.delete_role_policy(RoleName=step.role, PolicyName=POLICY_NAME)
                _delete_role(step.role, hands)
            case DeleteSecret():
                clients.secretsmanager.delete_secret(SecretId=step.secret, ForceDeleteWithoutRecovery=True)
            case DeleteLogGroup():
                clients.logs.delete_log_group(logGroupName=step.group)
            case EmptyBucket():
                _empty_bucket(step, hands)
            case _:
                raise AssertionError(f"no way to carry out {step!r}")


def _delete_role(role: str, hands: Hands) -> None:
    with Expected({"DeleteConflict"}) as conflict:
        hands.clients.iam.delete_role(RoleName=role)
    if conflict.error:
        raise AwsRefused(
            f"role {role} has policies that setup.py did not make, and cannot be deleted with them",
            hint=f"see `aws iam list-attached-role-policies --role-name {role}` and `aws iam list-role-policies "
            f"--role-name {role}`; detach or delete them, or the stacks that made them, and run destroy again",
        ) from conflict.error


def _gone_is_fine() -> Expected:
    """What is gone already needs no deletion."""
    return Expected({"ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket"})


class Tag(TypedDict):
    """Tag in the spelling of S3 and IAM."""

    Key: str
    Value: str


def _tags(hands: Hands) -> list[Tag]:
    return [{"Key": key, "Value": value} for key, value in hands.names.tags.items()]


def _make_bucket(step: MakeBucket, hands: Hands) -> None:
    s3, bucket, region = hands.clients.s3, step.bucket, hands.names.place.region
    tags = _tags(hands)
    if step.create:
        # Created with its tags in one call: a run that dies here leaves no resource without a known owner.
        made: CreateBucketConfigurationTypeDef = {"Tags": tags}
        if region != "us-east-1":  # S3 refuses its first region as a constraint
            made["LocationConstraint"] = cast("BucketLocationConstraintType", region)
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=made)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}]
        },
    )


def _put_secret(step: PutSecret, hands: Hands) -> None:
    manager = hands.clients.secretsmanager
    if step.restore:
        manager.restore_secret(SecretId=step.secret)
    if not step.create:
        manager.put_secret_value(SecretId=step.secret, SecretString=step.value.text())
        return

    def create() -> None:
        with aws_errors(step.sentence):
            manager.create_secret(
                Name=step.secret,
                Description="Git credentials of the Lambdasmith builder",
                SecretString=step.value.text(),
                Tags=[{"Key": key, "Value": value} for key, value in hands.names.tags.items()],
            )

    def is_being_deleted(error: LambdasmithError) -> bool:
        return error_code(error) == "InvalidRequestException"

    patiently(create, retry=is_being_deleted, patience_s=_SECRET_PATIENCE_S)


def _put_role(step: PutRole, hands: Hands) -> None:
    iam = hands.clients.iam

    def create() -> None:
        with aws_errors(step.sentence):
            iam.create_role(
                RoleName=step.role,
                AssumeRolePolicyDocument=json.dumps(step.trust),
                Description=step.description,
                Tags=_tags(hands),
            )

    def trust() -> None:
        with aws_errors(step.sentence):
            iam.update_assume_role_policy(RoleName=step.role, PolicyDocument=json.dumps(step.trust))

    def is_young(error: LambdasmithError) -> bool:
        # A role that trusts a new one: IAM itself needs some seconds to know a new principal.
        return error_code(error) == "MalformedPolicyDocument" and "principal" in error.message.lower()

    patiently(create if step.create else trust, retry=is_young, patience_s=_IAM_PATIENCE_S)
    if step.boundary:
        # Before the policy: without one the role may do nothing.
        iam.put_role_permissions_boundary(RoleName=step.role, PermissionsBoundary=step.boundary)
    iam.put_role_policy(RoleName=step.role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(step.policy))


def _publish_starter(step: PublishStarter, hands: Hands) -> None:
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


def _create_function(step: CreateFunction, hands: Hands) -> None:
    configuration = _configuration(step.settings)
    configuration["Layers"] = [step.layer or hands.starter_arn]
    tenancy: Tenancy = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}} if step.per_tenant else {}

    def create() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.create_function(
                FunctionName=step.function,
                **configuration,
                **tenancy,
                Code={"ZipFile": step.code},
                Architectures=[cast("ArchitectureType", step.architecture)],
                Tags=hands.names.tags,
            )

    def retry(error: LambdasmithError) -> bool:
        young = _role_is_young(error)
        if young:
            hands.tell(step, "waiting until Lambda knows the new role")
        return young

    patiently(create, retry=retry, patience_s=_IAM_PATIENCE_S)
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


def _update_configuration(step: UpdateConfiguration, hands: Hands) -> None:
    configuration = _configuration(step.settings)
    if step.layer is not None:
        configuration["Layers"] = [step.layer or hands.starter_arn, *step.layers]

    def update() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.update_function_configuration(FunctionName=step.function, **configuration)

    patiently(update, retry=_role_or_function_not_ready, patience_s=_IAM_PATIENCE_S)
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)


def _role_or_function_not_ready(error: LambdasmithError) -> bool:
    return isinstance(error, FunctionBusy) or _role_is_young(error)


def _update_code(step: UpdateCode, hands: Hands) -> None:
    def update() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.update_function_code(
                FunctionName=step.function,
                ZipFile=step.code,
                Architectures=[cast("ArchitectureType", step.architecture)],
            )

    patiently(update, retry=lambda error: isinstance(error, FunctionBusy), patience_s=_BUSY_PATIENCE_S)
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)


def _never_repeat(step: NeverRepeat, hands: Hands) -> None:
    def put() -> None:
        with aws_errors(step.sentence):
            hands.clients.lambda_.put_function_event_invoke_config(FunctionName=step.function, MaximumRetryAttempts=0)

    patiently(put, retry=lambda error: isinstance(error, FunctionBusy), patience_s=_BUSY_PATIENCE_S)


def _set_up(step: SetUp, hands: Hands) -> None:
    """Invoke `setup` and prove with `ping` that the builder is ready.

    A run that was killed may have left a `setup` that still works in the background: then one of the two finds the
    function busy, and the builder is ready all the same.
    """

    def attempt() -> Ping:
        call(hands.clients, step.function, {"action": "setup", "build_id": f"setup-{uuid.uuid4().hex}"})
        wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)
        answer = ping(hands.clients, step.function)
        if not answer.ready or answer.layer_key != step.layer_key:
            raise NotSetUp(
                f"function {step.function} has been set up, but does not say that it is ready",
                hint=f"its log is in CloudWatch Logs, group {hands.names.log_group}",
            )
        return answer

    def retry(error: LambdasmithError) -> bool:
        # A policy that was put a moment ago may not have reached every service yet.
        again = isinstance(error, FunctionBusy | AccessDenied)
        if again:
            hands.tell(step, f"trying again: {error.message}")
        return again

    hands.opened = True
    hands.ping = patiently(attempt, retry=retry, patience_s=_IAM_PATIENCE_S)


def _attach_to_worker(step: AttachToWorker, hands: Hands) -> None:
    lambda_ = hands.clients.lambda_

    def layers_of(function: str) -> tuple[list[str], list[str]]:
        """Return the versions of the builder's own layer that a function has, and its other layers."""
        present = lambda_.get_function_configuration(FunctionName=function)
        every = [layer.get("Arn", "") for layer in present.get("Layers", [])]
        own = [arn for arn in every if arn.startswith(f"{step.layer}:")]
        return own, [arn for arn in every if arn not in own]

    def attach() -> None:
        with aws_errors(step.sentence):
            wanted, (own, others) = layers_of(step.builder)[0], layers_of(step.function)
            if own != wanted:
                lambda_.update_function_configuration(FunctionName=step.function, Layers=[*wanted, *others])

    patiently(attach, retry=lambda error: isinstance(error, FunctionBusy), patience_s=_BUSY_PATIENCE_S)
    wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)


def _allow_set_up(step: AllowSetUp, hands: Hands) -> None:
    with hands.lock:
        # Checked under the lock: after `take_back` a late thread must not open what that has just closed.
        if hands.closed:
            return
        hands.opened = True
        _put_policy(step, hands)
    _wait_for_right(step, hands, right=True)


def _end_set_up(step: EndSetUp, hands: Hands) -> None:
    with hands.lock:
        _put_policy(step, hands)
        # Only after the policy is back: if the call fails, `take_back` must still try.
        hands.opened = False
    _wait_for_right(step, hands, right=False)


def take_back(steps: Sequence[Step], hands: Hands) -> None:
    """Take back the builder's right to change itself, at the end of a run, however it ended.

    Raises:
        LambdasmithError: AWS refused.
    """
    with hands.lock:
        hands.closed = True
        for step in steps:
            if isinstance(step, EndSetUp) and hands.opened:
                with aws_errors(step.sentence):
                    _put_policy(step, hands)


def _put_policy(step: AllowSetUp | EndSetUp, hands: Hands) -> None:
    hands.clients.iam.put_role_policy(
        RoleName=step.role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(step.policy)
    )


def _wait_for_right(step: AllowSetUp | EndSetUp, hands: Hands, *, right: bool) -> None:
    """Wait until the builder may change itself, or no longer may: IAM takes some seconds to propagate a policy.

    IAM's own simulation is no proof: it evaluates the stored policy, not the one that Lambda uses. An embedded AWS
    applies a policy at once, and may not enforce it at all.
    """

    def attempt() -> None:
        answer = call(hands.clients, step.function, {"action": "ping", "rights": True})
        if answer.get("may_change_itself") is not right:
            raise NotSetUp(
                f"the policy of role {step.role} was changed, but AWS does not apply it yet",
                hint="run the same command again",
            )

    def retry(error: LambdasmithError) -> bool:
        hands.tell(step, "waiting until AWS knows the changed policy")
        return isinstance(error, NotSetUp | FunctionBusy | AccessDenied)

    embedded = urlsplit(hands.clients.lambda_.meta.endpoint_url).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        patiently(attempt, retry=retry, patience_s=0 if embedded else _IAM_PATIENCE_S)
    except NotSetUp as error:
        if not embedded:
            raise
        hands.tell(step, error.message)


def _empty_bucket(step: EmptyBucket, hands: Hands) -> None:
    s3, left = hands.clients.s3, False
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=step.bucket, Prefix=step.prefix):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects: list[ObjectIdentifierTypeDef] = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in found]
        if objects:
            deleted = s3.delete_objects(Bucket=step.bucket, Delete={"Objects": objects, "Quiet": True})
            left = left or bool(deleted.get("Errors"))
    if left:
        raise AwsRefused(f"{step.sentence}: S3 refused to delete some objects", hint="run the same command again")
    if not step.delete_bucket:
        return
    with Expected({"BucketNotEmpty"}) as used:
        s3.delete_bucket(Bucket=step.bucket)
    if used.error:
        hands.notes.append(f"bucket {step.bucket} stays: something else is in it")

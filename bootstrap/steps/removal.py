"""Removal of what `init` made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.changes import (
    DeleteFunction,
    DeleteLayers,
    DeleteLogGroup,
    DeleteMachine,
    DeleteRole,
    DeleteSecret,
    EmptyBucket,
    Step,
)
from bootstrap.policy.roles import POLICY_NAME
from bootstrap.steps.hands import Hands
from builder.aws import Expected
from builder.errors import AwsRefused

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef


def take_away(step: Step, hands: Hands) -> None:
    clients = hands.clients
    with _gone_is_fine():
        match step:
            case DeleteFunction():
                clients.lambda_.delete_function(FunctionName=step.function)
            case DeleteLayers():
                for version in step.versions:
                    clients.lambda_.delete_layer_version(LayerName=step.layer, VersionNumber=version)
            case DeleteMachine():
                clients.states.delete_state_machine(stateMachineArn=step.arn)
            case DeleteRole():
                # A block of its own: a policy that is gone must not keep the role. IAM deletes no role with an inline
                # policy (IAM API, DeleteRole).
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
    """Return the errors that mean that something is deleted already."""
    return Expected({"ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket"})


def _empty_bucket(step: EmptyBucket, hands: Hands) -> None:
    s3, left = hands.clients.s3, False
    # Also old versions and delete markers: S3 deletes only an empty bucket, and these count.
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=step.bucket, Prefix=step.prefix):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        # A page has at most 1,000 entries, which is as many as DeleteObjects takes (S3 API).
        objects: list[ObjectIdentifierTypeDef] = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in found]
        if objects:
            deleted = s3.delete_objects(Bucket=step.bucket, Delete={"Objects": objects, "Quiet": True})
            left = left or bool(deleted.get("Errors"))
    if left:
        raise AwsRefused(f"{step.sentence}: S3 refused to delete some objects", hint="run the same command again")
    if not step.delete_bucket:
        return
    # Not asked before: S3 itself refuses, whatever else is written meanwhile.
    with Expected({"BucketNotEmpty"}) as used:
        s3.delete_bucket(Bucket=step.bucket)
    if used.error:
        hands.notes.append(f"bucket {step.bucket} stays: something else is in it")

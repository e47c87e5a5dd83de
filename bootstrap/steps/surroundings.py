"""Bucket, secret and roles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypedDict, cast

from bootstrap.changes import MakeBucket, PutRole, PutSecret
from bootstrap.patience import patiently
from bootstrap.policy.roles import POLICY_NAME
from bootstrap.steps.hands import IAM_PATIENCE_S, Hands
from builder.aws import aws_errors, error_code
from builder.errors import LambdasmithError

if TYPE_CHECKING:
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import CreateBucketConfigurationTypeDef
# Secrets Manager frees the name of a deleted secret a little later.
_SECRET_PATIENCE_S = 30.0


class Tag(TypedDict):
    """Tag in the spelling of S3 and IAM."""

    Key: str
    Value: str


def _tags(hands: Hands) -> list[Tag]:
    return [{"Key": key, "Value": value} for key, value in hands.names.tags.items()]


def make_bucket(step: MakeBucket, hands: Hands) -> None:
    s3, bucket, region = hands.clients.s3, step.bucket, hands.names.place.region
    tags = _tags(hands)
    if step.create:
        # Created with its tags in one call: a run that dies here leaves no resource without a known owner.
        made: CreateBucketConfigurationTypeDef = {"Tags": tags}
        if region != "us-east-1":  # S3 refuses its first region as a constraint
            made["LocationConstraint"] = cast("BucketLocationConstraintType", region)
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=made)
    # Also after a creation with tags: a service that ignores them there would leave the bucket without an owner.
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    # A function in REFERENCE mode reads one version of an object, which must not be overwritten (Lambda Developer
    # Guide, configuration-self-managed-storage).
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


def put_secret(step: PutSecret, hands: Hands) -> None:
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


def put_role(step: PutRole, hands: Hands) -> None:
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

    patiently(create if step.create else trust, retry=is_young, patience_s=IAM_PATIENCE_S)
    if step.boundary:
        # Before the policy: without one the role may do nothing.
        iam.put_role_permissions_boundary(RoleName=step.role, PermissionsBoundary=step.boundary)
    iam.put_role_policy(RoleName=step.role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(step.policy))

"""Reading of the present state: everything at the same time, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from bootstrap import lifecycle
from bootstrap.invoke import Ping, ping
from bootstrap.names import Names, Place
from bootstrap.policy.roles import POLICY_NAME
from bootstrap.policy.statements import Document
from bootstrap.state import (
    BucketState,
    FanOutState,
    FunctionSettings,
    FunctionState,
    GitSecret,
    LayerVersion,
    LogGroupState,
    MachineState,
    Present,
    RoleState,
    SecretState,
    WorkerState,
)
from builder.arns import Arn
from builder.aws import Clients, Expected, aws_errors, error_code
from builder.errors import AwsRefused, LambdasmithError
from builder.publishing.functions import wait_until_settled
from builder.trust.reach import OWNER_TAG

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import GetFunctionResponseTypeDef

_T = TypeVar("_T")
# Longest wait for a change of a function to take effect, in seconds; a few are usual.
SETTLE_S = 300.0
_ABSENT = {
    "404",
    "NoSuchBucket",
    "NoSuchEntity",
    "NoSuchTagSet",
    "NoSuchPublicAccessBlockConfiguration",
    "NotFound",
    "ResourceNotFoundException",
    "ServerSideEncryptionConfigurationNotFoundError",
}


def whereabouts(clients: Clients) -> Place:
    """Return the account of the credentials."""
    with aws_errors("asking AWS whose credentials these are"):
        identity = clients.sts.get_caller_identity()
    return Place(partition=Arn.read(identity["Arn"]).partition, account=identity["Account"], region=clients.region)


def read_present(clients: Clients, names: Names, *, secret: GitSecret | None, ask_builder: bool) -> Present:
    """Read the state of everything that has one of `names`.

    Args:
        secret: the wanted value of the secret; only compared, never shown. ask_builder: also invoke `ping` if the
            function exists.

    Raises:
        AwsRefused: a bucket of that name belongs to another account or is in another region.
    """
    # Clients are made here: making them is not safe in several threads, using them is.
    for client in (clients.lambda_, clients.lambda_patient, clients.s3, clients.iam, clients.secretsmanager):
        client.meta  # noqa: B018
    clients.logs.meta  # noqa: B018
    clients.states.meta  # noqa: B018
    # A thread for each read below, so that all of them take as long as the slowest.
    with ThreadPoolExecutor(12) as pool:
        bucket = pool.submit(_bucket, clients, names)
        role = pool.submit(_role, clients, names, names.role)
        kept = pool.submit(_secret, clients, names, secret)
        group = pool.submit(_log_group, clients, names, names.log_group)
        worker = pool.submit(_function, clients, names, names.worker)
        worker_role = pool.submit(_role, clients, names, names.worker_role)
        store_role = pool.submit(_role, clients, names, names.store_role)
        worker_group = pool.submit(_log_group, clients, names, names.worker_log_group)
        layers = pool.submit(_layers, clients, names)
        machine = pool.submit(_machine, clients, names)
        machine_role = pool.submit(_role, clients, names, names.machine_role)
        function, answer, silence = _function_and_ping(clients, names, ask_builder)
        return Present(
            bucket=bucket.result(),
            role=role.result(),
            secret=kept.result(),
            log_group=group.result(),
            layers=layers.result(),
            function=function,
            ping=answer,
            silence=silence,
            worker=WorkerState(
                function=worker.result(),
                role=worker_role.result(),
                store_role=store_role.result(),
                log_group=worker_group.result(),
            ),
            fan_out=FanOutState(machine=machine.result(), role=machine_role.result()),
        )


def _unless_absent(call: Callable[[], _T], doing: str) -> _T | None:
    with aws_errors(doing), Expected(_ABSENT):
        return call()
    return None


def _bucket(clients: Clients, names: Names) -> BucketState | None:
    tags = _bucket_tags(clients, names)
    if tags is None:
        return None
    s3, name = clients.s3, names.bucket
    with aws_errors(f"looking into bucket {name}"):
        listed = s3.list_object_versions(Bucket=name, Prefix=names.prefix, MaxKeys=1)
        used = bool(listed.get("Versions") or listed.get("DeleteMarkers"))
        # Services that ignore tags at creation leave an untagged resource when a run dies between the two calls.
        half_made = names.owns_bucket_name and not tags and not used
        rules = lifecycle.ours(names, lifecycle.read(clients, name).rules)
        if tags.get(OWNER_TAG) != names.function_arn and not half_made:
            return BucketState(made_here=False, used=used, rules=rules)
        versioning = s3.get_bucket_versioning(Bucket=name)
    blocked = _unless_absent(lambda: s3.get_public_access_block(Bucket=name), f"reading access to {name}")
    encryption = _unless_absent(lambda: s3.get_bucket_encryption(Bucket=name), f"reading encryption of {name}")
    return BucketState(
        made_here=True,
        used=used,
        rules=rules,
        versioned=versioning.get("Status") == "Enabled",
        private=blocked is not None and all(blocked["PublicAccessBlockConfiguration"].values()),
        encrypted=encryption is not None,
    )


def _bucket_tags(clients: Clients, names: Names) -> dict[str, str] | None:
    """Return the bucket's tags; None if there is no such bucket."""
    s3, name = clients.s3, names.bucket
    try:
        head = _unless_absent(lambda: s3.head_bucket(Bucket=name), f"looking for bucket {name}")
        if head is None:
            return None
        tagging = _unless_absent(lambda: s3.get_bucket_tagging(Bucket=name), f"reading the tags of {name}")
    except AwsRefused as error:
        if error_code(error) in ("403", "AccessDenied", "301", "PermanentRedirect"):
            raise AwsRefused(
                f"bucket {name} belongs to another account, or these credentials may not use it",
                hint="choose another deployment_bucket, or leave it empty to have one made",
            ) from error
        raise
    region = head.get("BucketRegion") or names.place.region
    if region != names.place.region:
        raise AwsRefused(
            f"bucket {name} is in {region}, but the builder in {names.place.region}",
            hint="Lambda takes code only from its own region: choose another deployment_bucket, or leave it empty",
        )
    return {tag["Key"]: tag["Value"] for tag in tagging["TagSet"]} if tagging else {}


def _role(clients: Clients, names: Names, role: str) -> RoleState | None:
    found = _unless_absent(lambda: clients.iam.get_role(RoleName=role), f"looking for role {role}")
    if found is None:
        return None
    inline = _unless_absent(
        lambda: clients.iam.get_role_policy(RoleName=role, PolicyName=POLICY_NAME),
        f"reading the policy of role {role}",
    )
    tags = {tag["Key"]: tag["Value"] for tag in found["Role"].get("Tags", [])}
    return RoleState(
        made_here=tags.get(OWNER_TAG) == names.function_arn,
        trust=_document(found["Role"].get("AssumeRolePolicyDocument")),
        policy=_document(inline["PolicyDocument"]) if inline else None,
        boundary=found["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    )


def _document(value: object) -> Document:
    """Parse a policy as botocore returns it: decoded, or as text where the service did not escape it."""
    decoded = json.loads(value) if isinstance(value, str) else value
    return decoded if isinstance(decoded, dict) else {}


def _secret(clients: Clients, names: Names, wanted: GitSecret | None) -> SecretState | None:
    manager, name = clients.secretsmanager, names.secret
    found = _unless_absent(lambda: manager.describe_secret(SecretId=name), f"looking for secret {name}")
    if found is None:
        return None
    tags = {tag.get("Key"): tag.get("Value") for tag in found.get("Tags", [])}
    made_here, deleted = tags.get(OWNER_TAG) == names.function_arn, "DeletedDate" in found
    if wanted is None or deleted or not made_here:
        return SecretState(made_here=made_here, deleted=deleted, current=not deleted)
    value = _unless_absent(lambda: manager.get_secret_value(SecretId=name), f"comparing secret {name}")
    return SecretState(
        made_here=made_here,
        deleted=deleted,
        current=value is not None and value.get("SecretString") == wanted.text(),
    )


def _log_group(clients: Clients, names: Names, name: str) -> LogGroupState | None:
    with aws_errors(f"looking for log group {name}"):
        # There is no call for one group. The answer is sorted, so that the exact name comes first and one page is
        # enough (CloudWatch Logs API, DescribeLogGroups).
        groups = clients.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if not any(group.get("logGroupName") == name for group in groups):
            return None
        tags = clients.logs.list_tags_for_resource(resourceArn=names.arn_in("logs", f"log-group:{name}"))["tags"]
    return LogGroupState(made_here=tags.get(OWNER_TAG) == names.function_arn)


def _layers(clients: Clients, names: Names) -> tuple[LayerVersion, ...]:
    """Return the versions of the builder's layer, newest first. Layers have no tags: descriptions mark ours."""
    with aws_errors(f"listing versions of layer {names.layer}"):
        pages = clients.lambda_.get_paginator("list_layer_versions").paginate(LayerName=names.layer)
        versions = [version for page in pages for version in page.get("LayerVersions", [])]
    found = (
        LayerVersion(
            arn=version.get("LayerVersionArn", ""),
            version=version.get("Version", 0),
            description=version.get("Description", ""),
            runtimes=tuple(version.get("CompatibleRuntimes", [])),
            created=version.get("CreatedDate", ""),
        )
        for version in versions
    )
    # Without this a layer of the same name that someone else has published would be removed by `destroy`.
    return tuple(version for version in found if version.description.lower().startswith("lambdasmith"))


def _machine(clients: Clients, names: Names) -> MachineState | None:
    """Return the state machine; None as well for an operator who may not ask, which then needs none."""
    arn, doing = names.machine_arn, f"looking for state machine {names.machine}"
    with aws_errors(doing), Expected({"StateMachineDoesNotExist", "AccessDeniedException", "AccessDenied"}):
        found = clients.states.describe_state_machine(stateMachineArn=arn)
        tags = clients.states.list_tags_for_resource(resourceArn=arn)["tags"]
        return MachineState(
            made_here={tag["key"]: tag["value"] for tag in tags}.get(OWNER_TAG) == names.function_arn,
            role=found["roleArn"],
            definition=found["definition"],
        )
    return None


def _function_and_ping(
    clients: Clients, names: Names, ask_builder: bool
) -> tuple[FunctionState | None, Ping | None, str]:
    name = names.function
    function = _function(clients, names, name)
    if function is None or not (ask_builder and function.made_here and function.state in ("Active", "Inactive")):
        return function, None, ""
    try:
        return function, ping(clients, name), ""
    except LambdasmithError as error:
        return function, None, error.message


def _function(clients: Clients, names: Names, name: str) -> FunctionState | None:
    found = _unless_absent(lambda: clients.lambda_.get_function(FunctionName=name), f"looking for function {name}")
    if found is None:
        return None
    settled = found["Configuration"]
    if settled.get("State") == "Pending" or settled.get("LastUpdateStatus") == "InProgress":
        # A change by an interrupted run may still be taking effect.
        wait_until_settled(clients, name, timeout_s=SETTLE_S)
        with aws_errors(f"reading function {name}"):
            found = clients.lambda_.get_function(FunctionName=name)
    return _as_state(found, names, retries_decided=_retries_decided(clients, name))


def _retries_decided(clients: Clients, name: str) -> bool:
    doing = f"reading how often Lambda repeats an invocation of {name}"
    found = _unless_absent(lambda: clients.lambda_.get_function_event_invoke_config(FunctionName=name), doing)
    return found is not None


def _as_state(found: GetFunctionResponseTypeDef, names: Names, *, retries_decided: bool) -> FunctionState:
    known = found["Configuration"]
    return FunctionState(
        made_here=found.get("Tags", {}).get(OWNER_TAG) == names.function_arn,
        state=known.get("State", "Active"),
        retries_decided=retries_decided,
        architecture=known.get("Architectures", ["x86_64"])[0],
        code_sha256=known.get("CodeSha256", ""),
        layers=tuple(layer.get("Arn", "") for layer in known.get("Layers", [])),
        per_tenant=known.get("TenancyConfig", {}).get("TenantIsolationMode") == "PER_TENANT",
        settings=FunctionSettings(
            runtime=known.get("Runtime", ""),
            handler=known.get("Handler", ""),
            role=known.get("Role", ""),
            memory_mb=known.get("MemorySize", 128),
            timeout_s=known.get("Timeout", 3),
            ephemeral_storage_mb=known.get("EphemeralStorage", {}).get("Size", 512),
            description=known.get("Description", ""),
            environment=known.get("Environment", {}).get("Variables", {}),
        ),
    )

"""Resources that stacks support here: custom ones, Lambda functions, versions, aliases and layers, roles."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from localaws.stacks.templates import Json

if TYPE_CHECKING:
    from localaws.testing import Server

# CloudFormation's buckets, by region: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-vpce.html
RESPONSE_BUCKET = "cloudformation-custom-resource-response-useast1"
# CloudFormation's own limit on a response, so that a longer one also fails here.
_MOST_ANSWERED = 4096
_POLL_S = 0.05


class ResourceFailed(Exception):
    """Error: a resource could not be made or changed. `physical_id` identifies what exists of it anyway."""

    def __init__(self, reason: str, physical_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.physical_id = physical_id


@dataclass(frozen=True, kw_only=True)
class Made:
    """Resource after a change: its `Ref`, and its attributes for `Fn::GetAtt`."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Place of a resource: its stack and logical id, and the account."""

    aws: Server
    stack: str
    stack_id: str
    logical_id: str
    type: str

    def name(self, limit: int = 64) -> str:
        """Return a name for a resource that has none in the template."""
        return f"{self.stack}-{self.logical_id}"[: limit - 13] + f"-{uuid.uuid4().hex[:12].upper()}"


class Kind(Protocol):
    """Type of resource. An update that returns another physical id has replaced the resource."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        """Return whether the change creates another resource; if that fails, the old one is unchanged."""
        ...

    def create(self, place: Place, properties: Json) -> Made: ...

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made: ...

    def delete(self, place: Place, physical_id: str, properties: Json) -> None: ...


class Custom:
    """`Custom::…`: the target of the service token gets a request, and responds with a PUT to a presigned URL."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return False

    def create(self, place: Place, properties: Json) -> Made:
        return self._ask(place, "Create", properties)

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        given = {"PhysicalResourceId": physical_id, "OldResourceProperties": _texts(old)}
        return self._ask(place, "Update", properties, **given)

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        self._ask(place, "Delete", properties, PhysicalResourceId=physical_id)

    def _ask(self, place: Place, kind: str, properties: Json, **more: Any) -> Made:
        # A real bucket and a presigned URL, so that a response with a wrong header fails here as it does on AWS.
        s3 = place.aws.client("s3")
        # Made each time: the bucket that is there already is no error in us-east-1 (S3 API, CreateBucket).
        s3.create_bucket(Bucket=RESPONSE_BUCKET)
        request_id = str(uuid.uuid4())
        key = f"{place.stack_id}|{place.logical_id}|{request_id}"
        url = s3.generate_presigned_url("put_object", Params={"Bucket": RESPONSE_BUCKET, "Key": key}, ExpiresIn=7200)
        event = {
            "RequestType": kind,
            "ServiceToken": properties["ServiceToken"],
            "ResponseURL": url,
            "StackId": place.stack_id,
            "RequestId": request_id,
            "LogicalResourceId": place.logical_id,
            "ResourceType": place.type,
            "ResourceProperties": _texts(properties),
            **more,
        }
        # Asynchronously, as CloudFormation does: the function answers by the URL, and its result is ignored.
        place.aws.client("lambda").invoke(
            FunctionName=properties["ServiceToken"], InvocationType="Event", Payload=json.dumps(event)
        )
        body = self._wait(s3, key, float(properties.get("ServiceTimeout", 3600)))
        return self._made(body, event)

    @staticmethod
    def _wait(s3: Any, key: str, timeout_s: float) -> bytes:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                answer = s3.get_object(Bucket=RESPONSE_BUCKET, Key=key)
            except s3.exceptions.NoSuchKey:
                time.sleep(_POLL_S)
                continue
            if answer["ContentType"] not in ("", "binary/octet-stream"):  # the timeout if no response was sent
                raise ResourceFailed(f"S3 refuses the PUT: the URL is signed for no type, not {answer['ContentType']}")
            return bytes(answer["Body"].read())
        raise ResourceFailed("CloudFormation did not receive a response from your Custom Resource.")

    @staticmethod
    def _made(body: bytes, event: Json) -> Made:
        if len(body) > _MOST_ANSWERED:
            raise ResourceFailed("Response object is too long.")
        answer = json.loads(body)
        for name in ("StackId", "RequestId", "LogicalResourceId"):
            # An answer to another request must not complete this one (CloudFormation User Guide, crpg-ref-responses).
            if answer.get(name) != event[name]:
                raise ResourceFailed(f"Invalid {name}: {answer.get(name)!r}")
        physical = answer.get("PhysicalResourceId")
        if not isinstance(physical, str) or not 0 < len(physical.encode()) <= 1024:
            raise ResourceFailed("Invalid PhysicalResourceId")
        if answer.get("Status") != "SUCCESS":
            raise ResourceFailed(f"Received response status [FAILED] from custom resource. {_why(answer)}", physical)
        return Made(physical_id=physical, attributes=answer.get("Data") or {})


def _why(answer: Json) -> str:
    if not answer.get("Reason"):
        return "Reason is required when status is FAILED"
    return f"Message returned: {answer['Reason']} (RequestId: {answer['RequestId']})"


def _texts(value: Any) -> Any:
    """Return properties as CloudFormation passes them: every scalar is a string."""
    if isinstance(value, dict):
        return {name: _texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class LambdaFunction:
    """`AWS::Lambda::Function`."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return _differ(properties, old, "FunctionName", "TenancyConfig")

    def create(self, place: Place, properties: Json) -> Made:
        name = properties.get("FunctionName") or place.name()
        given = _numbers({key: value for key, value in properties.items() if key != "Tags"})
        client = place.aws.client("lambda")
        tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
        made = client.create_function(**{**given, "FunctionName": name}, **({"Tags": tags} if tags else {}))
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        return Made(physical_id=name, attributes={"Arn": made["FunctionArn"]})

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        client = place.aws.client("lambda")
        waiter = client.get_waiter("function_updated_v2")
        if properties["Code"] != old["Code"] or properties.get("Architectures") != old.get("Architectures"):
            # Always named, so that the function returns to the default if the template no longer has it.
            architectures = properties.get("Architectures", ["x86_64"])
            client.update_function_code(FunctionName=physical_id, Architectures=architectures, **properties["Code"])
            # Lambda refuses the next update while this one is InProgress (Lambda Developer Guide, functions-states).
            waiter.wait(FunctionName=physical_id)
        settings = {key: value for key, value in properties.items() if key not in _NO_SETTINGS}
        made = client.update_function_configuration(**{**_numbers(settings), "FunctionName": physical_id})
        waiter.wait(FunctionName=physical_id)
        return Made(physical_id=physical_id, attributes={"Arn": made["FunctionArn"]})

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        place.aws.client("lambda").delete_function(FunctionName=physical_id)


_NO_SETTINGS = (
    *("Code", "Architectures", "Tags", "FunctionName", "PackageType", "ReservedConcurrentExecutions", "TenancyConfig"),
)


def _numbers(properties: Json) -> Json:
    """Convert attributes, which are strings, to numbers where the API has numbers, as CloudFormation does."""
    return {
        key: int(value) if key in ("MemorySize", "Timeout") and isinstance(value, str) else value
        for key, value in properties.items()
    }


class LambdaVersion:
    """`AWS::Lambda::Version`: replaced whenever a property changes, if the function itself has also changed."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return True

    def create(self, place: Place, properties: Json) -> Made:
        _refuse(properties, "ProvisionedConcurrencyConfig", "RuntimePolicy", "FunctionScalingConfig")
        client, name = place.aws.client("lambda"), properties["FunctionName"]
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        # Listed first: PublishVersion returns the last version if nothing has changed, and CloudFormation takes that
        # for an error.
        present = {version["Version"] for page in pages for version in page["Versions"]}
        made = client.publish_version(**properties)
        number = made["Version"]
        if number in present:
            raise ResourceFailed(
                f"A version for this Lambda function exists ( {number} ). Modify the function to create a new version."
            )
        client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=number)
        arn = made["FunctionArn"]
        return Made(physical_id=arn, attributes={"Version": number, "FunctionArn": arn})

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        return self.create(place, properties)

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        place.aws.client("lambda").delete_function(FunctionName=physical_id)


class LambdaAlias:
    """`AWS::Lambda::Alias`."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return _differ(properties, old, "FunctionName", "Name")

    def create(self, place: Place, properties: Json) -> Made:
        return self._made(place.aws.client("lambda").create_alias(**self._given(properties)))

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        # What the template no longer has returns to its default: UpdateAlias leaves members alone that are not named.
        given = {"Description": "", "RoutingConfig": {}, **self._given(properties)}
        return self._made(place.aws.client("lambda").update_alias(**given))

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        place.aws.client("lambda").delete_alias(FunctionName=properties["FunctionName"], Name=properties["Name"])

    @staticmethod
    def _given(properties: Json) -> Json:
        _refuse(properties, "ProvisionedConcurrencyConfig")
        rows = properties.get("RoutingConfig", {}).get("AdditionalVersionWeights", [])
        weights = {row["FunctionVersion"]: float(row["FunctionWeight"]) for row in rows}
        return {**properties, **({"RoutingConfig": {"AdditionalVersionWeights": weights}} if rows else {})}

    @staticmethod
    def _made(alias: Json) -> Made:
        return Made(physical_id=alias["AliasArn"], attributes={"AliasArn": alias["AliasArn"]})


def _differ(properties: Json, old: Json, *members: str) -> bool:
    return any(properties.get(member) != old.get(member) for member in members)


def _refuse(properties: Json, *members: str) -> None:
    given = [member for member in members if member in properties]
    if given:
        raise ResourceFailed(f"{', '.join(given)}: not supported here")


class LayerVersion:
    """`AWS::Lambda::LayerVersion`: every change makes a new version."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return True

    def create(self, place: Place, properties: Json) -> Made:
        given = {"LayerName": f"{place.stack}-{place.logical_id}"[:140], **properties}
        arn = place.aws.client("lambda").publish_layer_version(**given)["LayerVersionArn"]
        return Made(physical_id=arn, attributes={"LayerVersionArn": arn})

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        return self.create(place, properties)

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        name, _, number = physical_id.rpartition(":")
        place.aws.client("lambda").delete_layer_version(LayerName=name, VersionNumber=int(number))


class Role:
    """`AWS::IAM::Role`."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return False

    def create(self, place: Place, properties: Json) -> Made:
        iam = place.aws.client("iam")
        name = properties.get("RoleName") or place.name()
        trust = json.dumps(properties["AssumeRolePolicyDocument"])
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
        for policy in properties.get("Policies", []):
            document = json.dumps(policy["PolicyDocument"])
            iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=document)
        for arn in properties.get("ManagedPolicyArns", []):
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        return Made(physical_id=name, attributes={"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        raise ResourceFailed("a change of a role is not supported here")

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        iam = place.aws.client("iam")
        # First the policies: IAM deletes no role that has some (IAM API, DeleteRole).
        for name in iam.list_role_policies(RoleName=physical_id)["PolicyNames"]:
            iam.delete_role_policy(RoleName=physical_id, PolicyName=name)
        for policy in iam.list_attached_role_policies(RoleName=physical_id)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=physical_id, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=physical_id)


class RolePolicy:
    """`AWS::IAM::Policy`, for roles."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return False

    def create(self, place: Place, properties: Json) -> Made:
        document = json.dumps(properties["PolicyDocument"])
        for role in properties["Roles"]:
            place.aws.client("iam").put_role_policy(
                RoleName=role, PolicyName=properties["PolicyName"], PolicyDocument=document
            )
        return Made(physical_id=properties["PolicyName"])

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        return self.create(place, properties)

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        for role in properties["Roles"]:
            place.aws.client("iam").delete_role_policy(RoleName=role, PolicyName=physical_id)


class StateMachine:
    """`AWS::StepFunctions::StateMachine`."""

    def is_replaced(self, properties: Json, old: Json) -> bool:
        return any(properties.get(name) != old.get(name) for name in ("StateMachineName", "StateMachineType"))

    def create(self, place: Place, properties: Json) -> Made:
        name = properties.get("StateMachineName") or place.name()
        tags = [{"key": tag["Key"], "value": tag["Value"]} for tag in properties.get("Tags", [])]
        arn = place.aws.client("stepfunctions").create_state_machine(
            name=name,
            type=properties.get("StateMachineType", "STANDARD"),
            tags=tags,
            **self._changeable(place, properties),
        )["stateMachineArn"]
        return Made(physical_id=arn, attributes={"Arn": arn, "Name": name})

    def update(self, place: Place, physical_id: str, properties: Json, old: Json) -> Made:
        request = self._changeable(place, properties)
        place.aws.client("stepfunctions").update_state_machine(stateMachineArn=physical_id, **request)
        return Made(physical_id=physical_id, attributes={"Arn": physical_id, "Name": physical_id.rsplit(":", 1)[-1]})

    def delete(self, place: Place, physical_id: str, properties: Json) -> None:
        place.aws.client("stepfunctions").delete_state_machine(stateMachineArn=physical_id)

    def _changeable(self, place: Place, properties: Json) -> Json:
        definition = properties.get("DefinitionString") or json.dumps(properties.get("Definition"))
        if source := properties.get("DefinitionS3Location"):
            found = place.aws.client("s3").get_object(Bucket=source["Bucket"], Key=source["Key"])
            definition = found["Body"].read().decode()
        for name, value in properties.get("DefinitionSubstitutions", {}).items():
            definition = definition.replace(f"${{{name}}}", str(value))
        return {"definition": definition, "roleArn": properties["RoleArn"]}


KINDS: Mapping[str, Kind] = {
    "AWS::CloudFormation::CustomResource": Custom(),
    "AWS::Lambda::Function": LambdaFunction(),
    "AWS::Lambda::Version": LambdaVersion(),
    "AWS::Lambda::Alias": LambdaAlias(),
    "AWS::Lambda::LayerVersion": LayerVersion(),
    "AWS::IAM::Role": Role(),
    "AWS::IAM::Policy": RolePolicy(),
    "AWS::StepFunctions::StateMachine": StateMachine(),
}


def kind_of(type_name: str) -> Kind | None:
    """Return the implementation of a resource type; None if it is not supported here."""
    return Custom() if type_name.startswith("Custom::") else KINDS.get(type_name)

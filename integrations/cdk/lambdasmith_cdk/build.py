"""The custom resource that builds, and the builder's right to read what it is to build."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Aws, CustomResource, Duration, Fn, IgnoreMode, Names, RemovalPolicy, Stack, Token
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

_FUNCTION_ARN = re.compile(r"arn:[\w-]+:lambda:(?P<region>[\w-]+):\d{12}:function:(?P<name>[\w-]+)(?::[\w$-]+)?")


class Build(Construct):
    """What the builder is asked for, and what comes of it: attributes, code, layers."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        builder: str | lambda_.IFunction,
        builder_role: iam.IRole | None,
        project: Path | None,
        exclude: Sequence[str],
        properties: Mapping[str, object],
        timeout: Duration,
    ) -> None:
        """Ask for a build.

        Args:
            builder, builder_role: as LambdasmithFunction has them.
            project: directory that is sent, None where `properties` name a repository.
            exclude: patterns in gitignore's syntax of what is not sent.
            properties: those of the custom resource; None counts as left out.
            timeout: until CloudFormation gives up.
        """
        super().__init__(scope, construct_id)
        arn = builder if isinstance(builder, str) else builder.function_arn
        asset = self._asset(project, exclude) if project else None
        asked = dict(properties)
        if not asked.get("Function"):
            asked["Function"] = Names.unique_resource_name(self, max_length=64, separator="-")
        if asset:
            asked["Source"] = {"Bucket": asset.s3_bucket_name, "Key": asset.s3_object_key}
        self.resource = CustomResource(
            self,
            "Resource",
            service_token=arn,
            resource_type="Custom::Lambdasmith",
            service_timeout=timeout,
            properties={name: value for name, value in asked.items() if value is not None},
        )
        if asset:
            role = builder_role or (None if isinstance(builder, str) else builder.role) or self._role_of(arn)
            # Not before the builder may read it.
            self.resource.node.add_dependency(self._let_read(role, asset))
        self._artifacts = s3.Bucket.from_bucket_name(self, "Artifacts", self.text("Bucket"))

    def text(self, attribute: str) -> str:
        """A token for an attribute of the custom resource."""
        return self.resource.get_att_string(attribute)

    def number(self, attribute: str) -> int:
        """A token for an attribute that is a number."""
        return int(Token.as_number(self.resource.get_att(attribute)))

    def code(self, key: str = "Key") -> lambda_.Code:
        """An artifact. Its key is the hash of its content, so it takes no version of an S3 object to name it.

        `Code.from_bucket` would warn that such code is never updated.
        """
        return lambda_.S3Code(self._artifacts, self.text(key))

    def layer(self, layer: str | lambda_.ILayerVersion, runtime: lambda_.Runtime) -> lambda_.ILayerVersion:
        """A layer of the build file, by its name, or one from elsewhere, by its ARN or as another construct."""
        if isinstance(layer, str) and not Token.is_unresolved(layer) and not layer.startswith("arn:"):
            return lambda_.LayerVersion(
                self,
                f"Layer-{layer}",
                # One name for all versions, so that their numbers tell them apart.
                layer_version_name=f"{Names.unique_resource_name(self, max_length=64, separator='-')}-{layer}",
                code=self.code(f"Layers.{layer}.Key"),
                compatible_runtimes=[runtime],
                # Versions of the function that are published already may need it.
                removal_policy=RemovalPolicy.RETAIN,
            )
        if not isinstance(layer, str) and not Token.is_unresolved(runtime.name):
            return layer
        # The CDK holds the runtimes of a layer against the function's, which is not known yet, or not those of the ARN.
        arn = layer if isinstance(layer, str) else layer.layer_version_arn
        number = sum(child.node.id.startswith("Foreign-") for child in self.node.children)
        return lambda_.LayerVersion.from_layer_version_attributes(self, f"Foreign-{number}", layer_version_arn=arn)

    def _asset(self, project: Path, exclude: Sequence[str]) -> assets.Asset:
        return assets.Asset(self, "Project", path=str(project), exclude=list(exclude), ignore_mode=IgnoreMode.GIT)

    def _let_read(self, role: iam.IRole, asset: assets.Asset) -> iam.Policy:
        """Let the builder read assets: one policy per stack, whose name no other stack has.

        Inline policies of a role are told apart by name alone. The CDK's own names are the same in every stack, so that
        stacks would overwrite each other's, and deleting one would take the right from all.
        """
        stack = Stack.of(self)
        construct_id = f"LambdasmithSources-{role.node.addr[-8:]}"
        policy = stack.node.try_find_child(construct_id)
        if not isinstance(policy, iam.Policy):
            name = Names.unique_resource_name(stack, max_length=64, separator="-")
            own = Fn.select(2, Fn.split("/", Aws.STACK_ID))
            policy = iam.Policy(stack, construct_id, policy_name=f"lambdasmith-{name}-{own}")
            role.attach_inline_policy(policy)
        objects = asset.bucket.arn_for_objects("*")
        policy.add_statements(iam.PolicyStatement(actions=["s3:GetObject"], resources=[objects]))
        return policy

    def _role_of(self, arn: str) -> iam.IRole:
        """The role that `setup.py init` makes for a builder, one construct for all functions of the stack."""
        found = _FUNCTION_ARN.fullmatch(arn)
        if found is None:
            raise ValueError(
                f"{self.node.path}: builder_role: missing; the role cannot be told from the builder {arn}, so give the"
                " one that the builder runs with"
            )
        stack = Stack.of(self)
        construct_id = f"LambdasmithRole-{found['name']}"
        present = stack.node.try_find_child(construct_id)
        if present is not None:
            return present  # type: ignore[return-value]  # jsii knows no narrower type
        return iam.Role.from_role_name(stack, construct_id, f"{found['name']}-{found['region']}")

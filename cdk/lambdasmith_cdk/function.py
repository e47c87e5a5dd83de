"""A Lambda function whose code and layers are built in AWS while the stack is deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aws_cdk import CustomResource, Duration, IgnoreMode, Names, RemovalPolicy, Stack, Token
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from lambdasmith_cdk.project import layers_of, left_out

_FUNCTION_ARN = re.compile(r"arn:[\w-]+:lambda:(?P<region>[\w-]+):\d{12}:function:(?P<name>[\w-]+)(?::[\w$-]+)?")


class LambdasmithFunction(Construct):
    """A function built by the builder, from a directory of this machine or from a git commit.

    `function` is the function, `layers` are its layers in their order, `resource` is the custom resource that builds:
    its attributes are those of docs/cloudformation.md.

        LambdasmithFunction(stack, "Thumbs", builder=arn, project="services/thumbs", memory_size=1024)
        LambdasmithFunction(stack, "Mail", builder=arn, repo="acme/mail", ref="v1.2.0", layers=["dependencies"])
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        builder: str | lambda_.IFunction,
        project: str | Path | None = None,
        repo: str | None = None,
        repo_name: str | None = None,
        ref: str | None = None,
        path: str | None = None,
        build_file: str | None = None,
        layers: Sequence[str] | None = None,
        trigger: str | None = None,
        builder_role: iam.IRole | None = None,
        exclude: Sequence[str] = (),
        build_timeout: Duration | None = None,
        function_name: str | None = None,
        runtime: lambda_.Runtime | None = None,
        handler: str | None = None,
        architecture: lambda_.Architecture | None = None,
        memory_size: int | None = None,
        timeout: Duration | None = None,
        **properties: Any,
    ) -> None:
        """Define the function.

        Args:
            builder: the builder function or its ARN.
            project: directory with the build file. What .gitignore, .lambdaignore and `exclude` name stays here.
            repo: instead of `project`: an https URL, or `owner/name`.
            repo_name: instead of `project`: a repository below the builder's git base.
            ref: commit, tag or branch. Name commits: a branch that moves on is no change of the stack.
            path: the project's directory in the repository.
            build_file: another name than build.yaml, build.yml or build.json.
            layers: names of the layers in the build file, and ARNs of those from elsewhere, in the order in which they
                are attached. Of a `project` they are read from the build file; of a repository they must be given.
            trigger: any text; builds anew when it changes.
            builder_role: role of the builder, which is granted to read `project`; by default the one that
                `setup.py init` makes for a builder of that name.
            build_timeout: until CloudFormation gives up, an hour at most; by default 30 minutes.
            function_name: also what the builder knows the function by, for example to let it have secrets.
            runtime, handler, architecture, memory_size, timeout: instead of what the build file says.
            properties: all else that aws_lambda.Function takes, `environment`, `role`, `vpc` …

        Raises:
            ValueError: the project is not there, or it is not said what to build.
        """
        super().__init__(scope, construct_id)
        given = [name for name, one in (("project", project), ("repo", repo), ("repo_name", repo_name)) if one]
        if len(given) != 1:
            raise ValueError(f"{self.node.path}: give one of project, repo and repo_name, not {given or 'none'}")
        asset = self._asset(Path(project), exclude) if project else None
        if layers is None:
            if project is None:
                raise ValueError(f"{self.node.path}: name the layers of the build file, layers=[] if it has none")
            layers = layers_of(Path(project), build_file)
        source: Mapping[str, object] = (
            {"Source": {"Bucket": asset.s3_bucket_name, "Key": asset.s3_object_key}}
            if asset
            else {"Repo": repo, "RepoName": repo_name, "Ref": ref}
        )
        name = function_name or Names.unique_resource_name(self, max_length=64, separator="-")
        asked = {"Function": name, "Path": path, "BuildFile": build_file, "Trigger": trigger, **source}
        if architecture:
            asked["Architecture"] = architecture.name
        arn = builder if isinstance(builder, str) else builder.function_arn
        self.resource = CustomResource(
            self,
            "Build",
            service_token=arn,
            resource_type="Custom::Lambdasmith",
            service_timeout=build_timeout or Duration.minutes(30),
            properties={key: value for key, value in asked.items() if value is not None},
        )
        if asset:
            role = builder_role or (None if isinstance(builder, str) else builder.role) or self._role_of(arn)
            asset.grant_read(role)
            # Not before the builder may read it.
            self.resource.node.add_dependency(role)
        self._artifacts = s3.Bucket.from_bucket_name(self, "Artifacts", self.resource.get_att_string("Bucket"))
        runtime = runtime or lambda_.Runtime(self._attribute("Runtime"))
        self.layers = [self._layer(one, runtime) for one in layers]
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            code=self._code("Key", "VersionId"),
            runtime=runtime,
            handler=handler or self._attribute("Handler"),
            architecture=architecture or lambda_.Architecture.custom(self._attribute("Architecture")),
            memory_size=memory_size or Token.as_number(self.resource.get_att("MemorySize")),
            timeout=timeout or Duration.seconds(Token.as_number(self.resource.get_att("Timeout"))),
            layers=[*self.layers, *properties.pop("layers", ())],
            **properties,
        )

    def _attribute(self, name: str) -> str:
        return self.resource.get_att_string(name)

    def _asset(self, project: Path, exclude: Sequence[str]) -> assets.Asset:
        if not project.is_dir():
            raise ValueError(f"{self.node.path}: project: {project} is not a directory")
        return assets.Asset(
            self,
            "Project",
            path=str(project),
            exclude=[*left_out(project), *exclude],
            ignore_mode=IgnoreMode.GIT,
        )

    def _role_of(self, arn: str) -> iam.IRole:
        """The role that `setup.py init` makes for a builder, one construct for all functions of the stack."""
        found = _FUNCTION_ARN.fullmatch(arn)
        if found is None:
            raise ValueError(f"{self.node.path}: builder_role: missing; it cannot be told from the builder {arn}")
        stack = Stack.of(self)
        construct_id = f"LambdasmithRole-{found['name']}"
        present = stack.node.try_find_child(construct_id)
        if present is not None:
            return present  # type: ignore[return-value]  # jsii knows no narrower type
        return iam.Role.from_role_name(stack, construct_id, f"{found['name']}-{found['region']}")

    def _layer(self, name: str, runtime: lambda_.Runtime) -> lambda_.ILayerVersion:
        construct_id = f"Layer-{name.rpartition(':layer:')[2].replace(':', '-')}"
        if name.startswith("arn:"):
            return lambda_.LayerVersion.from_layer_version_arn(self, construct_id, name)
        return lambda_.LayerVersion(
            self,
            construct_id,
            code=self._code(f"Layers.{name}.Key", f"Layers.{name}.VersionId"),
            compatible_runtimes=[runtime],
            # Versions of the function that are published already may need it.
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _code(self, key: str, version: str) -> lambda_.Code:
        return lambda_.Code.from_bucket_v2(
            self._artifacts, self._attribute(key), object_version=self._attribute(version)
        )

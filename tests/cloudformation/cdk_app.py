"""CDK apps of the tests: `cdk_app.py OUT BUILDER_ARN REPO_NAME PROJECT…` writes OUT/0, OUT/1 … for the projects.

OUT/shapes is a stack in which the construct is used in every way that a function is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from lambdasmith_cdk import LambdasmithFunction


def synthesize(out: Path, builder: str, repo_name: str, project: Path) -> None:
    """Two functions from directories of the project, one with an alias, and one from the repository."""
    app = cdk.App(outdir=str(out), analytics_reporting=False)
    stack = cdk.Stack(app, "cdkshop")
    greeter = LambdasmithFunction(
        stack, "Greeter", builder=builder, project=project, path="svc", timeout=cdk.Duration.seconds(20)
    )
    cdk.CfnOutput(stack, "Name", value=greeter.function_name)
    live = lambda_.Alias(stack, "Live", alias_name="live", version=greeter.function.current_version)
    cdk.CfnOutput(stack, "LiveArn", value=live.function_arn)
    plain = LambdasmithFunction(stack, "Plain", builder=builder, project=project / "plain")
    cdk.CfnOutput(stack, "PlainName", value=plain.function_name)
    shared = lambda_.LayerVersion(
        stack,
        "Shared",
        code=lambda_.Code.from_asset(str(project / "shared")),
        compatible_runtimes=[lambda_.Runtime.PYTHON_3_9],  # those that there are is for Lambda to say
    )
    other = LambdasmithFunction(
        stack,
        "Other",
        builder=builder,
        repo_name=repo_name,
        ref="main",
        layers=[shared],
        handler="app.other",
        environment={"WHO": "cdk"},
    )
    cdk.CfnOutput(stack, "OtherName", value=other.function_name)
    messages = [message.entry.data for message in app.synth().get_stack_by_name(stack.stack_name).messages]
    if messages:
        raise AssertionError(f"synthesizing warns of {messages}")


def shapes(out: Path, builder: str, repo_name: str) -> None:
    """A function as handler, target, principal, version and metric; and what is refused."""
    app = cdk.App(outdir=str(out), analytics_reporting=False)
    stack = cdk.Stack(app, "cdkshapes")
    first = LambdasmithFunction(
        stack,
        "First",
        builder=builder,
        repo_name=repo_name,
        ref="main",
        layers=["dependencies", "arn:aws:lambda:us-east-1:123456789012:layer:elsewhere:7"],
        snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS,
        current_version_options=lambda_.VersionOptions(description="mine", removal_policy=cdk.RemovalPolicy.RETAIN),
    )
    apigateway.LambdaRestApi(stack, "Api", handler=first)
    sns.Topic(stack, "Topic").add_subscription(subscriptions.LambdaSubscription(first))
    first.grant_invoke(iam.ServicePrincipal("events.amazonaws.com"))
    first.add_to_role_policy(iam.PolicyStatement(actions=["s3:ListAllMyBuckets"], resources=["*"]))
    cloudwatch.Alarm(stack, "Alarm", metric=first.metric_errors(), threshold=1, evaluation_periods=1)
    first.add_function_url()
    lambda_.Alias(stack, "Live", alias_name="live", version=first.current_version)
    for options, problem in (
        ({"repo": "a/b", "project": "."}, "Second: give one of project, repo, repo_name, not project and repo"),
        ({}, "Second: give one of project, repo, repo_name, not none"),
        ({"repo": "a/b"}, "Second: layers: name those of the build file"),
        ({"project": ".", "ref": "main"}, "Second: ref: goes with repo or repo_name"),
        ({"project": "not-there"}, "Second: project: not-there is not a directory"),
        ({"project": ".", "path": "not-there"}, "Second: path: not-there is not a directory"),
    ):
        try:
            LambdasmithFunction(stack, "Second", builder=builder, **options)
        except ValueError as error:
            if problem not in str(error):
                raise
        else:
            raise AssertionError(f"not refused: {options}")
    app.synth()


def main(out: str, builder: str, repo_name: str, *projects: str) -> None:
    shapes(Path(out) / "shapes", builder, repo_name)
    for number, project in enumerate(projects):
        synthesize(Path(out) / str(number), builder, repo_name, Path(project))


main(*sys.argv[1:])

"""CDK apps of the tests: `cdk_app.py OUT BUILDER_ARN REPO_NAME PROJECT…` writes OUT/0, OUT/1 … for the projects."""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from lambdasmith_cdk import LambdasmithFunction


def synthesize(out: Path, builder: str, repo_name: str, project: str) -> None:
    """One function from the project's directory, one from the repository."""
    app = cdk.App(outdir=str(out), analytics_reporting=False)
    stack = cdk.Stack(app, "cdkshop")
    greeter = LambdasmithFunction(stack, "Greeter", builder=builder, project=project, timeout=cdk.Duration.seconds(20))
    cdk.CfnOutput(stack, "Name", value=greeter.function.function_name)
    other = LambdasmithFunction(
        stack,
        "Other",
        builder=builder,
        repo_name=repo_name,
        ref="main",
        layers=[],
        handler="app.other",
        environment={"WHO": "cdk"},
    )
    cdk.CfnOutput(stack, "OtherName", value=other.function.function_name)
    app.synth()


def main(out: str, builder: str, repo_name: str, *projects: str) -> None:
    for number, project in enumerate(projects):
        synthesize(Path(out) / str(number), builder, repo_name, project)


main(*sys.argv[1:])

"""AWS CDK construct for functions that Lambdasmith builds: no Docker, no bundling."""

from lambdasmith_cdk.function import LambdasmithFunction

__all__ = ["LambdasmithFunction"]

"""Permissions for fanning out: the builder's on its state machine, and those of the state machine's role."""

from __future__ import annotations

from bootstrap.names import Names
from bootstrap.policy.statements import Grant
from bootstrap.policy.store import stored


def builder_grants(names: Names) -> tuple[Grant, ...]:
    """Return what the builder may do with its own state machine."""
    return (
        Grant(
            sid="FanOut",
            why={"states:StartExecution": "have many functions made by many invocations"},
            resources=(names.machine_arn,),
        ),
        Grant(
            sid="FollowFanOut",
            why={
                "states:DescribeExecution": "`status` of such a build",
                "states:ListMapRuns": "and how far it is",
                "states:StopExecution": "`stop`: end it before it publishes",
            },
            resources=(names.executions_arn,),
        ),
        Grant(
            sid="CountParts",
            why={"states:DescribeMapRun": "`status`: how many parts are made"},
            resources=(names.map_runs_arn,),
        ),
    )


def machine_grants(names: Names) -> tuple[Grant, ...]:
    """Return everything that the state machine may do."""
    return (
        Grant(
            sid="InvokeBuilder",
            why={"lambda:InvokeFunction": "make a part, and publish at the end"},
            resources=(names.function_arn,),
        ),
        Grant(
            sid="ReadItems",
            why={"s3:GetObject": "the list of parts that the builder has written"},
            resources=(stored(names, "fanout/*"),),
        ),
        Grant(
            sid="RunParts",
            why={"states:StartExecution": "a Distributed Map starts one child execution for each part"},
            resources=(names.machine_arn,),
        ),
        Grant(
            sid="FollowParts",
            why={
                "states:DescribeExecution": "wait for its children",
                "states:StopExecution": "and stop them with it",
            },
            resources=(names.executions_arn, names.executions_arn.removesuffix(":*") + "/*"),
        ),
    )

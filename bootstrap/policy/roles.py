"""Policies of the builder's roles: who may assume each, and all that it may do."""

from __future__ import annotations

from bootstrap.names import Names
from bootstrap.policy.denials import (
    never_another_builder,
    never_its_layer,
    never_its_logs,
    never_its_roles,
    never_itself,
    open_urls_alone,
    remove_no_function,
    set_up_its_layer,
    set_up_itself,
)
from bootstrap.policy.fan_out import builder_grants
from bootstrap.policy.functions import (
    deploying,
    give_roles,
    keep_logs,
    list_log_groups,
    look_at_stacks,
    look_through_account,
    publish_layers,
    read_layers,
)
from bootstrap.policy.scope import Scope
from bootstrap.policy.secrets import read_git_token, secret_grants
from bootstrap.policy.statements import Document, Grant, document
from bootstrap.policy.store import give_leases_back, keep_builds, lend_to_worker, list_builds, order_from_worker, stored

POLICY_NAME = "lambdasmith"


def _trust(service: str) -> Document:
    principal: Document = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [principal]}


TRUST = _trust("lambda.amazonaws.com")
MACHINE_TRUST = _trust("states.amazonaws.com")


def store_trust(names: Names) -> Document:
    """Return the trust policy of the store role: only the builder may assume it."""
    builder: Document = {"Effect": "Allow", "Principal": {"AWS": names.role_arn}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [builder]}


def policy(names: Names, scope: Scope, *, setting_up: bool = False) -> Document:
    """Return the inline policy of the builder's role.

    Args:
        setting_up: the policy while setup.py lets the builder make and attach its own layer.
    """
    return document(grants(names, scope, setting_up=setting_up))


def grants(names: Names, scope: Scope, *, setting_up: bool = False) -> tuple[Grant, ...]:
    """Return everything that the builder may do; nothing is granted that its code does not call."""
    functions = scope.functions
    granted = [
        *(
            [
                *(*deploying(names, scope), publish_layers(names, functions), keep_logs(names, functions)),
                look_at_stacks(names),
            ]
            if functions
            else []
        ),
        remove_no_function(names),
        *open_urls_alone(names),
        look_through_account(),
        # Only while setup.py waits for `setup`: whoever can update the builder has all of its rights.
        *([set_up_itself(names), set_up_its_layer(names)] if setting_up else []),
        _itself(names),
        never_itself(names, setting_up),
        never_another_builder(names, setting_up),
        never_its_layer(names, setting_up),
        never_its_logs(names),
        never_its_roles(names),
        read_layers(names),
        keep_builds(names, scope.split),
        *([order_from_worker(names), lend_to_worker(names)] if scope.split else []),
        *(builder_grants(names) if scope.fan_out else ()),
        give_leases_back(names),
        list_builds(names),
        read_git_token(names),
        _logs(names, names.log_group),
        list_log_groups(names),
    ]
    if scope.roles:
        granted.append(give_roles(names, scope.roles))
    granted += secret_grants(names, scope.logins)
    return tuple(granted)


def worker_grants(names: Names) -> tuple[Grant, ...]:
    """Return everything that the worker's own role may do: almost nothing, as foreign code may get hold of it."""
    return (
        _logs(names, names.worker_log_group),
        Grant(
            sid="KnowOrders",
            why={"s3:GetObject": "compare an order with what the builder has written of it"},
            resources=(stored(names, "orders/*"),),
        ),
    )


def store_grants(names: Names) -> tuple[Grant, ...]:
    """Return the most that the builder can lend to the worker; each order gets only its own trust domain's part."""
    return (
        Grant(
            sid="KeepOfDomains",
            why={
                "s3:GetObject": "read what the domain's builds have made; the session has one domain's folder",
                "s3:PutObject": "store it",
            },
            resources=(stored(names, "domains/*"),),
        ),
        Grant(
            sid="ReadWhatIsGiven",
            why={
                "s3:GetObject": "read what is known of runtimes, and the archive that an order is about",
                "s3:GetObjectVersion": "in the version that an event names",
            },
            # The upper limit of all sessions: a session policy only takes away from its role's own (STS, AssumeRole).
            resources=tuple(stored(names, f"{folder}/*") for folder in ("baselines", "uploads", "sources")),
        ),
    )


def _itself(names: Names) -> Grant:
    return Grant(
        sid="GoOnInAnotherInvocation",
        why={"lambda:InvokeFunction": "a custom resource's build that runs out of time goes on in another invocation"},
        resources=(names.function_arn,),
    )


def _logs(names: Names, group: str) -> Grant:
    return Grant(
        sid="WriteLogs",
        why={
            "logs:CreateLogStream": "Lambda opens a stream per execution environment",
            "logs:PutLogEvents": "and writes to it; `init` makes the group",
        },
        resources=(names.arn_in("logs", f"log-group:{group}:*"),),
    )

"""Execution of steps. Every step may be repeated: the next run finishes an interrupted one."""

from __future__ import annotations

from bootstrap import lifecycle
from bootstrap.changes import (
    AllowSetUp,
    AttachToWorker,
    CreateFunction,
    EndSetUp,
    MakeBucket,
    MakeLogGroup,
    NeverRepeat,
    PublishStarter,
    PutLifecycle,
    PutMachine,
    PutRole,
    PutSecret,
    SetUp,
    Step,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.steps.fan_out import put_machine
from bootstrap.steps.functions import (
    attach_to_worker,
    create_function,
    never_repeat,
    publish_starter,
    update_code,
    update_configuration,
)
from bootstrap.steps.hands import Hands
from bootstrap.steps.removal import take_away
from bootstrap.steps.setting_up import allow_set_up, end_set_up, set_up
from bootstrap.steps.surroundings import make_bucket, put_role, put_secret
from builder.aws import aws_errors


def carry_out(step: Step, hands: Hands) -> None:
    """Make the change.

    Raises:
        LambdasmithError: AWS or the builder refused.
    """
    with aws_errors(step.sentence):
        match step:
            case MakeBucket():
                make_bucket(step, hands)
            case PutLifecycle():
                lifecycle.put(hands.clients, hands.names, step.bucket, step.rules)
            case PutSecret():
                put_secret(step, hands)
            case PutRole():
                put_role(step, hands)
            case PutMachine():
                put_machine(step, hands)
            case MakeLogGroup():
                hands.clients.logs.create_log_group(logGroupName=step.group, tags=hands.names.tags)
            case PublishStarter():
                publish_starter(step, hands)
            case CreateFunction():
                create_function(step, hands)
            case UpdateConfiguration():
                update_configuration(step, hands)
            case UpdateCode():
                update_code(step, hands)
            case NeverRepeat():
                never_repeat(step, hands)
            case AllowSetUp():
                allow_set_up(step, hands)
            case SetUp():
                set_up(step, hands)
            case AttachToWorker():
                attach_to_worker(step, hands)
            case EndSetUp():
                end_set_up(step, hands)
            # Everything that removes, where it is no error if the thing is gone.
            case _:
                take_away(step, hands)

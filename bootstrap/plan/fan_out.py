"""Steps to the state machine of `fan_out = on`, with its role, and those that remove it."""

from __future__ import annotations

from bootstrap.changes import (
    DeleteMachine,
    DeleteMachineRole,
    PutMachine,
    PutMachineRole,
    Step,
)
from bootstrap.fan_out import same
from bootstrap.names import Names
from bootstrap.plan.surroundings import role_steps
from bootstrap.plan.wanted import Wanted
from bootstrap.policy.fan_out import machine_grants
from bootstrap.policy.roles import MACHINE_TRUST
from bootstrap.policy.statements import document
from bootstrap.state import Present


def fan_out_steps(want: Wanted, present: Present) -> list[Step]:
    """Return the steps to the wanted state machine; none if there is none to be."""
    if not want.machine:
        return []
    names, there = want.names, present.fan_out
    steps = role_steps(
        PutMachineRole,
        names.machine_role,
        there.role,
        MACHINE_TRUST,
        document(machine_grants(names)),
        "with which the state machine invokes the builder",
        f"What the state machine of the builder {names.function} may do",
        want.boundary,
    )
    machine, role = there.machine, names.role_arn_of(names.machine_role)
    if machine is None or machine.role != role or not same(machine.definition, want.machine):
        verb = "make" if machine is None else "bring up to date"
        steps.append(
            PutMachine(
                sentence=f"{verb} state machine {names.machine}, which makes many functions at a time",
                machine=names.machine,
                arn=names.machine_arn,
                create=machine is None,
                role=role,
                definition=want.machine,
            )
        )
    return steps


def remove_fan_out(names: Names, present: Present) -> list[Step]:
    """Return the steps that remove the resources of `fan_out = on`."""
    there, steps = present.fan_out, list[Step]()
    if there.machine and there.machine.made_here:
        text = f"delete state machine {names.machine}; executions that run are stopped"
        steps.append(DeleteMachine(sentence=text, arn=names.machine_arn))
    if there.role and there.role.made_here:
        text = f"delete role {names.machine_role} and its policy"
        steps.append(DeleteMachineRole(sentence=text, role=names.machine_role))
    return steps

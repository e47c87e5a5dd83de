"""Steps from the present to the wanted state, in order, each with a sentence for people."""

from __future__ import annotations

from bootstrap.changes import AllowSetUp, EndSetUp, SetUp, Step
from bootstrap.plan.fan_out import fan_out_steps, remove_fan_out
from bootstrap.plan.functions import function_steps
from bootstrap.plan.surroundings import surroundings
from bootstrap.plan.wanted import Wanted
from bootstrap.plan.worker import attach_to_worker, remove_worker, worker_steps
from bootstrap.policy.roles import TRUST
from bootstrap.state import FunctionState, MachineState, Present, RoleState, SecretState
from builder.errors import InvalidConfiguration

_Made = FunctionState | MachineState | RoleState | SecretState


def converge(want: Wanted, present: Present) -> tuple[Step, ...]:
    """Return the steps from `present` to `want`, in the order in which they are shown; none if nothing differs.

    Raises:
        InvalidConfiguration: a resource of the same name exists that setup.py did not make.
    """
    _refuse_strangers(want, present)
    function = function_steps(want, present)
    role = present.role
    # An interrupted run has left this state, and `setup` continues from it.
    opened = (
        role is not None
        and (role.policy, role.trust) == (want.setup_policy, TRUST)
        and want.boundary in (role.boundary, None)
    )
    setting_up = any(isinstance(step, SetUp) for step in function)
    steps = surroundings(want, present, keep_role=opened and setting_up)
    if want.worker is not None:
        steps += worker_steps(want, present, want.worker, setting_up=setting_up)
    steps += fan_out_steps(want, present)
    for step in function:
        # Around `setup` alone: the builder may change itself no longer than that.
        if isinstance(step, SetUp) and not opened:
            steps.append(_allow_set_up(want))
        steps.append(step)
        if isinstance(step, SetUp):
            steps.append(_end_set_up(want))
    if not want.machine:
        steps += remove_fan_out(want.names, present)
    if want.worker is None:
        steps += remove_worker(want.names, present)
    elif setting_up:
        steps.append(attach_to_worker(want.names))
    return tuple(steps)


def _allow_set_up(want: Wanted) -> AllowSetUp:
    names = want.names
    text = f"let role {names.role} change function {names.function} and its layer, for the next step alone"
    return AllowSetUp(sentence=text, function=names.function, role=names.role, policy=want.setup_policy)


def _end_set_up(want: Wanted) -> EndSetUp:
    names = want.names
    text = f"forbid role {names.role} again to change function {names.function} and its layer"
    return EndSetUp(sentence=text, function=names.function, role=names.role, policy=want.policy)


def _refuse_strangers(want: Wanted, present: Present) -> None:
    names = want.names
    found: dict[str, _Made | None] = {
        f"function {names.function}": present.function,
        f"role {names.role}": present.role,
        f"secret {names.secret}": present.secret,
    }
    if want.worker is not None:
        found |= {
            f"function {names.worker}": present.worker.function,
            f"role {names.worker_role}": present.worker.role,
            f"role {names.store_role}": present.worker.store_role,
        }
    if want.machine:
        found |= {
            f"state machine {names.machine}": present.fan_out.machine,
            f"role {names.machine_role}": present.fan_out.role,
        }
    problems = [f"{what} exists, but setup.py did not make it" for what, it in found.items() if it and not it.made_here]
    if problems:
        raise InvalidConfiguration(
            problems[0] if len(problems) == 1 else "the names are taken",
            hint="choose another function_name, or remove what is in the way",
            problems=problems if len(problems) > 1 else (),
        )

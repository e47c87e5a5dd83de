"""`setup`, and the builder's right to change itself, which it has only meanwhile."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from bootstrap.changes import AllowSetUp, EndSetUp, SetUp, Step
from bootstrap.invoke import Ping, call, ping
from bootstrap.look import SETTLE_S
from bootstrap.patience import patiently
from bootstrap.policy.roles import POLICY_NAME
from bootstrap.steps.hands import IAM_PATIENCE_S, Hands
from builder.aws import aws_errors
from builder.errors import AccessDenied, FunctionBusy, LambdasmithError, NotSetUp
from builder.publishing.functions import wait_until_settled


def set_up(step: SetUp, hands: Hands) -> None:
    """Invoke `setup` and prove with `ping` that the builder is ready.

    A run that was killed may have left a `setup` that still works in the background: then one of the two finds the
    function busy, and the builder is ready all the same.
    """

    def attempt() -> Ping:
        call(hands.clients, step.function, {"action": "setup", "build_id": f"setup-{uuid.uuid4().hex}"})
        wait_until_settled(hands.clients, step.function, timeout_s=SETTLE_S)
        answer = ping(hands.clients, step.function)
        if not answer.ready or answer.layer_key != step.layer_key:
            raise NotSetUp(
                f"function {step.function} has been set up, but does not say that it is ready",
                hint=f"its log is in CloudWatch Logs, group {hands.names.log_group}",
            )
        return answer

    def retry(error: LambdasmithError) -> bool:
        # A policy that was put a moment ago may not have reached every service yet.
        again = isinstance(error, FunctionBusy | AccessDenied)
        if again:
            hands.tell(step, f"trying again: {error.message}")
        return again

    # Also where the run before has opened it: this one then has no AllowSetUp, but must close it all the same.
    hands.opened = True
    hands.ping = patiently(attempt, retry=retry, patience_s=IAM_PATIENCE_S)


def allow_set_up(step: AllowSetUp, hands: Hands) -> None:
    with hands.lock:
        # Checked under the lock: after `take_back` a late thread must not open what that has just closed.
        if hands.closed:
            return
        # Before the call: if it fails after IAM has taken the policy, `take_back` must still try.
        hands.opened = True
        _put_policy(step, hands)
    _wait_for_right(step, hands, right=True)


def end_set_up(step: EndSetUp, hands: Hands) -> None:
    with hands.lock:
        _put_policy(step, hands)
        # Only after the policy is back: if the call fails, `take_back` must still try.
        hands.opened = False
    _wait_for_right(step, hands, right=False)


def take_back(steps: Sequence[Step], hands: Hands) -> None:
    """Take back the builder's right to change itself, at the end of a run, however it ended.

    Raises:
        LambdasmithError: AWS refused.
    """
    with hands.lock:
        hands.closed = True
        for step in steps:
            if isinstance(step, EndSetUp) and hands.opened:
                with aws_errors(step.sentence):
                    _put_policy(step, hands)


def _put_policy(step: AllowSetUp | EndSetUp, hands: Hands) -> None:
    hands.clients.iam.put_role_policy(
        RoleName=step.role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(step.policy)
    )


def _wait_for_right(step: AllowSetUp | EndSetUp, hands: Hands, *, right: bool) -> None:
    """Wait until the builder may change itself, or no longer may: IAM takes some seconds to propagate a policy.

    IAM's own simulation is no proof: it evaluates the stored policy, not the one that Lambda uses. An embedded AWS
    applies a policy at once, and may not enforce it at all.
    """

    def attempt() -> None:
        answer = call(hands.clients, step.function, {"action": "ping", "rights": True})
        if answer.get("may_change_itself") is not right:
            raise NotSetUp(
                f"the policy of role {step.role} was changed, but AWS does not apply it yet",
                hint="run the same command again",
            )

    def retry(error: LambdasmithError) -> bool:
        hands.tell(step, "waiting until AWS knows the changed policy")
        return isinstance(error, NotSetUp | FunctionBusy | AccessDenied)

    embedded = urlsplit(hands.clients.lambda_.meta.endpoint_url).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        patiently(attempt, retry=retry, patience_s=0 if embedded else IAM_PATIENCE_S)
    except NotSetUp as error:
        if not embedded:
            raise
        hands.tell(step, error.message)

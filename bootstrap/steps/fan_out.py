"""The state machine of `fan_out = on`: made, changed and removed."""

from __future__ import annotations

from bootstrap.changes import PutMachine
from bootstrap.patience import patiently
from bootstrap.steps.hands import IAM_PATIENCE_S, Hands
from builder.aws import aws_errors, error_code
from builder.errors import LambdasmithError

# A deleted state machine keeps its name until its executions have stopped.
_WAITS = {"StateMachineDeleting"}
# Step Functions tries the role, and IAM takes some seconds to propagate a new one.
_YOUNG = {"AccessDeniedException", "InvalidArn", "ValidationException"}


def put_machine(step: PutMachine, hands: Hands) -> None:
    states = hands.clients.states

    def put() -> None:
        with aws_errors(step.sentence):
            if not step.create:
                states.update_state_machine(stateMachineArn=step.arn, definition=step.definition, roleArn=step.role)
                return
            states.create_state_machine(
                name=step.machine,
                definition=step.definition,
                roleArn=step.role,
                type="STANDARD",
                tags=[{"key": key, "value": value} for key, value in hands.names.tags.items()],
            )

    def retry(error: LambdasmithError) -> bool:
        code = error_code(error)
        return code in _WAITS or (code in _YOUNG and "role" in error.message.lower())

    patiently(put, retry=retry, patience_s=IAM_PATIENCE_S)

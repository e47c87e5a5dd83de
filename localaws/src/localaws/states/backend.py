"""State machines of one account and region."""

from __future__ import annotations

import copy
import json
import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import AWSError
from moto.stepfunctions import urls
from moto.stepfunctions.exceptions import (
    ExecutionDoesNotExist,
    InvalidExecutionInput,
    ResourceNotFound,
    StateMachineDoesNotExist,
)
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.utils import PAGINATION_MODEL
from moto.utilities.paginator import paginate

from localaws.iam.sts import service_may_assume
from localaws.states.batches import MAX_INPUT_BYTES
from localaws.states.clients import Clients
from localaws.states.definitions import InvalidDefinition, parse
from localaws.states.executions import Run
from localaws.states.interpreter import adapt
from localaws.states.settings import Settings

_PAGES = {"listed_executions": PAGINATION_MODEL["list_executions"]}
_settings: Settings | None = None


def serve(settings: Settings) -> None:
    """Let tasks call this server."""
    global _settings
    if _settings is None:
        _settings = settings
        adapt(Clients(settings))


class MissingRequiredParameter(AWSError):
    TYPE = "MissingRequiredParameter"


class StateMachineAlreadyExists(AWSError):
    TYPE = "StateMachineAlreadyExists"


class Backend(StepFunctionsParserBackend):
    """moto's backend, with executions of ours."""

    @property
    def _url_module(self) -> Any:
        return urls

    @staticmethod
    def _validate_definition(definition: str) -> None:
        parse(definition)

    def create_state_machine(  # type: ignore[override]
        self,
        name: str,
        definition: str,
        roleArn: str,  # noqa: N803
        **more: Any,
    ) -> StateMachine:
        existing = next((one for one in self.state_machines if one.name == name), None)
        if existing is not None:
            asked = (definition, roleArn, more.get("sm_type") or "STANDARD")
            # Idempotent only with the same content (API reference, CreateStateMachine).
            if (existing.definition, existing.roleArn, existing.type) != asked:
                raise StateMachineAlreadyExists(f"State Machine Already Exists: '{existing.arn}'")
            return existing
        parse(definition)
        self._check_role(roleArn)
        # Past moto's own check, which its method insists on.
        return super(StepFunctionsParserBackend, self).create_state_machine(name, definition, roleArn, **more)

    def problem_of(self, definition: str) -> tuple[str, str] | None:
        """Return the code and message of what is wrong with a definition."""
        try:
            parse(definition)
        except InvalidDefinition as error:
            code, _, why = str(error.message).partition("'")[2].rstrip("'").partition(": ")
            return code, why
        return None

    def update_state_machine(  # type: ignore[override]
        self, arn: str, definition: Any = None, role_arn: Any = None, **more: Any
    ) -> Any:
        if role_arn:
            self._check_role(role_arn)
        if definition:
            parse(definition)
        if not (definition or role_arn or any(more.values())):
            raise MissingRequiredParameter(
                "Either the definition, the role ARN, the LoggingConfiguration, "
                "the EncryptionConfiguration or the TracingConfiguration must be specified"
            )
        return super(StepFunctionsParserBackend, self).update_state_machine(arn, definition, role_arn, **more)

    def _check_role(self, role: str) -> None:
        """Refuse a role that Step Functions may not assume, if policies are enforced."""
        self._validate_role_arn(role)
        if _settings is None or not _settings.enforce_iam:
            return
        if not service_may_assume(role, "states.amazonaws.com"):
            raise AWSError(
                "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to "
                "assume the provided role.",
                "AccessDeniedException",
            )

    def delete_state_machine(self, arn: str) -> None:
        for machine in [one for one in self.state_machines if one.arn == arn]:
            for execution in machine.executions:
                execution.stop(datetime.now(tz=UTC), None, None)
            self.tagger.delete_all_tags_for_resource(arn)
        super().delete_state_machine(arn)

    def start_execution(  # type: ignore[override]
        self,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        trace_header: Any = None,
    ) -> Run:
        machine, version = self._machine(state_machine_arn)
        text = execution_input or "{}"
        try:
            json.loads(text)
        except ValueError as error:
            raise InvalidExecutionInput(f"Invalid State Machine Execution Input: '{error}'") from error
        if len(text.encode()) > MAX_INPUT_BYTES:
            raise InvalidExecutionInput("Invalid State Machine Execution Input: larger than 262144 bytes")
        if name:
            self._validate_name(name)
            existing = machine._handle_name_input_idempotency(name, text)
            if existing is not None:
                return existing  # type: ignore[return-value]
        run = self._new_run(version, name or str(uuid.uuid4()), text, trace_header)
        machine.executions.append(run)  # type: ignore[arg-type]
        run.start()
        return run

    def _machine(self, arn: str) -> tuple[StateMachine, Any]:
        """Return the state machine of an ARN, and what of it runs: itself, or a version that may be an alias's."""
        try:
            found = self.describe_state_machine(arn)
        except StateMachineDoesNotExist:
            source, _, alias_name = arn.rpartition(":")
            machine = next((one for one in self.state_machines if one.arn == source), None)
            if machine is None or alias_name not in machine.aliases:
                raise
            routes = machine.aliases[alias_name].routing_configuration
            # A share of traffic, not a secret.
            (route,) = random.choices(routes, [one["weight"] for one in routes])  # noqa: S311
            found = self.describe_state_machine(route["stateMachineVersionArn"])
        return self.describe_state_machine(getattr(found, "source_arn", found.arn)), found

    def _new_run(self, machine: Any, name: str, text: str, trace_header: Any) -> Run:
        # As it is now: an update concerns only executions that start later.
        snapshot = copy.copy(machine)
        snapshot.executions, snapshot.backend, snapshot.versions, snapshot.aliases = [], None, {}, {}
        snapshot.arn = getattr(machine, "source_arn", machine.arn)
        run = Run(
            name=name,
            sm_type=snapshot.sm_type,
            role_arn=snapshot.roleArn,
            exec_arn=f"{snapshot.arn.replace(':stateMachine:', ':execution:')}:{name}",
            account_id=self.account_id,
            region_name=self.region_name,
            state_machine=snapshot,
            start_date=datetime.now(tz=UTC),
            cloud_watch_logging_session=None,
            activity_store={},
            input_data=text,
            trace_header=trace_header,
        )
        run.enforce_iam = _settings is not None and _settings.enforce_iam
        return run

    def _runs(self) -> Iterator[Run]:
        """Yield every execution, children after their parents."""
        waiting: list[Any] = [run for machine in self.state_machines for run in machine.executions]
        while waiting:
            run = waiting.pop(0)
            yield run
            waiting += [child for record in run.map_runs() for child in record.children if child.exec_status]

    def _get_executions(self, execution_status: Any = None) -> Sequence[Run]:
        """Return the executions that moto's callbacks look through."""
        return [run for run in self._runs() if run.exec_worker and execution_status in (None, run.exec_status)]

    def describe_execution(self, execution_arn: str) -> Run:  # type: ignore[override]
        self._validate_execution_arn(execution_arn)
        for run in self._runs():
            if run.exec_arn == execution_arn:
                return run
        raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{execution_arn}'")

    def stopped_execution(self, arn: str, error: str | None, cause: str | None) -> Run:
        """Stop an execution, if it runs, and return it."""
        run = self.describe_execution(arn)
        run.stop(datetime.now(tz=UTC), error, cause)
        return run

    @paginate(pagination_model=_PAGES)
    def listed_executions(
        self, state_machine_arn: str | None, map_run_arn: str | None, status_filter: str | None
    ) -> list[Run]:
        """Return the executions of a state machine or of a Map Run, the newest first."""
        if map_run_arn:
            found = [child for child in self._record(map_run_arn).children if child.exec_status]
        else:
            found = self._machine(state_machine_arn or "")[0].executions
        chosen = [run for run in found if status_filter in (None, run.status)]
        return sorted(chosen, key=lambda run: run.start_date, reverse=True)

    def _record(self, map_run_arn: str) -> Any:
        for run in self._runs():
            for record in run.map_runs():
                if record.map_run_arn == map_run_arn:
                    return record
        raise ResourceNotFound(map_run_arn)

    def describe_map_run(self, map_run_arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self._record(map_run_arn).describe()
        return found

    def list_map_runs(self, execution_arn: str) -> dict[str, Any]:
        return {"mapRuns": [record.list_item() for record in self.describe_execution(execution_arn).map_runs()]}

    def update_map_run(
        self, map_run_arn: str, max_concurrency: Any, tolerated_failure_count: Any, tolerated_failure_percentage: Any
    ) -> None:
        self._record(map_run_arn).update(max_concurrency, tolerated_failure_count, tolerated_failure_percentage)

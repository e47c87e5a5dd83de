"""Execution of the steps of a publication. Every step can be repeated, and waits for Lambda before the next."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, ContentMismatch, FunctionBusy, FunctionMissing, InvokeFailed, RoleMissing
from builder.jsontext import json_or_text
from builder.publishing import layers, meant
from builder.publishing.extras import apply_extra
from builder.publishing.functions import wait_until_settled
from builder.publishing.publication import explained
from builder.publishing.steps import (
    ApplyExtra,
    CreateFunction,
    FunctionState,
    LayerChoice,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Step,
    TagFunction,
    TryFunction,
    UpdateCode,
    UpdateConfiguration,
)
from builder.publishing.versions import read_alias, read_published
from builder.trust.roles import not_allowed

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.progress import Progress
    from builder.replies.deploys import Invoked
    from builder.runtimes import Target
    from builder.store.s3 import S3Store
    from builder.workspace.directory import Deadline

# Longest wait for Lambda to apply one update, or for someone else's to end.
_SETTLE_S = 120.0
# Attempts at a decision after AWS reported that the function has changed.
_TRIES = 4
# Limit of a tried function's response in the reply: a synchronous invocation has 6 MB for everything.
_MAX_ANSWER = 256 << 10
# Its lists and objects in each other: masking and writing the reply go into each, on a stack of limited size.
_DEEPEST = 100
# Enough for a traceback; the whole log is in CloudWatch.
_LOG_LINES = 20
# Advice after an error, by whether there is an alias.
_AFTER_FAILURE = {
    True: "no alias was moved; fix the function and deploy again",
    False: "it is deployed: fix it and deploy again, or roll back; with an alias, the trial comes first",
}

Planner = Callable[[FunctionState | None, Mapping[str, str]], Sequence[Step]]


@dataclass(kw_only=True)
class Published:
    """Result of the steps.

    `layers` are ARNs of new versions by component, `state` is the function's after the last change, `steps` are
    sentences. `invoked` is the function's response: {status, version, payload, size, cut, error,
    log_tail}; a payload that was cut is text. `url` is the function's URL where it was set.
    """

    layers: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    alias: str | None = None
    state: FunctionState | None = None
    steps: list[str] = field(default_factory=list)
    invoked: Invoked | None = None
    url: str = ""


class Publisher:
    """Executor of the steps of one function's publication.

    `confirm` is called before every call that changes something; it raises if this build may no longer change anything.
    """

    def __init__(
        self,
        name: str,
        clients: Clients,
        store: S3Store,
        target: Target,
        deadline: Deadline,
        progress: Progress,
        *,
        confirm: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._clients = clients
        self._store = store
        self._target = target
        self._deadline = deadline
        self._progress = progress
        self._confirm = confirm
        self._result = Published()
        self.touched = False
        """Whether the function itself was changed."""

    def publish(self, plan: Planner, state: FunctionState | None) -> Published:
        """Carry out the decision of `plan` for the function's present state.

        If AWS reports that the function has changed since the decision, although no one but us has changed it (a call
        took effect, but its response was lost), decide again.

        Args:
            plan: the steps for a state, given the layer versions made so far by component.

        Raises:
            FunctionBusy: someone else changed the function meanwhile; nothing of theirs is overwritten.
            InvokeFailed: the function failed when it was tried; the alias has not moved.
            AwsRefused, RoleMissing: with AWS's words.
        """
        for tries_left in reversed(range(_TRIES)):
            self._result.state = state
            steps = plan(state, self._result.layers)
            if not self.touched:
                self._rehearse(steps)
            for step in steps:
                try:
                    # A version cannot be changed and an alias serves at once: check before either, not only at the end.
                    if isinstance(step, PublishVersion | TryFunction | PointAlias):
                        self._require_meant(plan)
                    self._carry_out(step)
                except FunctionBusy:
                    before = self._result.state
                    state = self._read(step)
                    if not tries_left or not explained(before, state, step):
                        raise
                    self._progress.say("looking again at what is deployed")
                    break
                self._result.steps.append(step.sentence)
            else:
                break
        self._require_meant(plan)
        return self._result

    def _require_meant(self, plan: Planner) -> None:
        """Return if the function has the code and the layers that were meant for it.

        Decide once more from Lambda's present state: no step may be left.

        Raises:
            ContentMismatch: it has something else.
        """
        if not self.touched:
            return
        for step in plan(self._result.state, self._result.layers):
            if isinstance(step, UpdateCode) or (isinstance(step, UpdateConfiguration) and step.layers is not None):
                raise meant.difference(self._name, step, self._result.state, self._result.layers)

    def _rehearse(self, steps: Sequence[Step]) -> None:
        """Ask Lambda in a dry run whether it would take the code, if other changes come before it."""
        writing = [step for step in steps if not isinstance(step, TryFunction)]
        code = next((step for step in writing if isinstance(step, UpdateCode)), None)
        if code is not None and code is not writing[0]:
            self._deadline.check(code.sentence)
            self._send_code(code, dry_run=True)

    def _carry_out(self, step: Step) -> None:
        self._deadline.check(step.sentence)
        self._progress.say(step.sentence)
        if isinstance(step, TryFunction):
            self._try(step)
            return
        # Directly before the call: a build that lost its lease while waiting must not change anything.
        self._confirm(step.sentence)
        match step:
            case PublishLayer():
                self._publish_layer(step.choice)
            case CreateFunction():
                self._create(step)
            case UpdateConfiguration():
                self._update_configuration(step)
            case UpdateCode():
                self._update_code(step)
            case TagFunction():
                self._tag(step)
            case ApplyExtra():
                url = apply_extra(self._clients, step.name, step.key, step.value, alias=step.alias)
                self._result.url = url or self._result.url
            case PublishVersion():
                self._publish_version(step)
            case PointAlias():
                self._point_alias(step)

    def _read(self, step: Step) -> FunctionState | None:
        """Read the deployed state after a conflict."""
        before = self._result.state
        self._settle_if_there()
        alias = step.alias if isinstance(step, PointAlias) else before.alias.name if before and before.alias else None
        # The version of a call whose response was lost is among these: without it, the retry would publish a second
        # one.
        versions = [version for version in (self._result.version, before.version if before else None) if version]
        state = read_published(self._clients, self._name, alias, versions)
        return replace(state, extras=before.extras) if state and before else state

    def _settle_if_there(self) -> None:
        try:
            self._settled()
        except FunctionMissing:
            return

    def _settled(self, version: str = "$LATEST") -> FunctionState:
        # Bounded by the invocation's own time as well, so that a reply can still be sent.
        timeout = min(_SETTLE_S, self._deadline.check(f"waiting for {self._name}"))
        return wait_until_settled(self._clients, self._name, timeout_s=timeout, qualifier=version)

    def _changed(self) -> None:
        """Wait until Lambda has applied a change of $LATEST."""
        self.touched = True
        before, now = self._result.state, self._settled()
        self._result.state = replace(now, alias=before.alias, extras=before.extras) if before else now

    @property
    def _revision(self) -> str:
        return self._result.state.revision_id if self._result.state else ""

    def _publish_layer(self, choice: LayerChoice) -> None:
        if choice.artifact is None:
            return
        # Kept by component: if the decision is repeated, the layer must not be published twice.
        self._result.layers[choice.component] = layers.publish_version(
            self._clients,
            self._store,
            choice.artifact,
            name=choice.layer,
            target=self._target,
            runtimes=choice.runtimes,
            description=choice.description,
            license_info=choice.license,
        )

    def _arns(self, attached: Sequence[str]) -> list[str]:
        return [self._result.layers.get(layer, layer) for layer in attached]

    def _create(self, step: CreateFunction) -> None:
        wanted = step.wanted
        settings: dict[str, object] = {**wanted.settings, "Role": step.role}
        try:
            with aws_errors(f"creating function {wanted.name}"):
                answer = self._clients.lambda_.create_function(
                    FunctionName=wanted.name,
                    Code={"S3Bucket": self._store.bucket, "S3Key": self._store.key(step.code.name)},
                    Architectures=[wanted.target.architecture],
                    Layers=self._arns(step.layers),
                    Tags=dict(wanted.tags),
                    **settings,  # type: ignore[arg-type]  # Lambda's own names, checked by botocore's model
                )
        except AwsRefused as error:
            raise _role_error(error, wanted.name, step.role) from error
        self.touched = True
        meant.require_content(f"function {wanted.name}", step.code, answer["CodeSha256"])
        self._changed()

    def _update_configuration(self, step: UpdateConfiguration) -> None:
        changes: dict[str, object] = dict(step.changes)
        if step.layers is not None:
            changes["Layers"] = self._arns(step.layers)
        try:
            with aws_errors(f"updating configuration of {step.name}"):
                self._clients.lambda_.update_function_configuration(
                    FunctionName=step.name,
                    RevisionId=self._revision,
                    **changes,  # type: ignore[arg-type]  # Lambda's own names, checked by botocore's model
                )
        except AwsRefused as error:
            raise _role_error(error, step.name, str(step.changes.get("Role", ""))) from error
        self._changed()

    def _update_code(self, step: UpdateCode) -> None:
        # Lambda refuses another revision than ours, so a change by someone else between two steps is never overwritten.
        taken = self._send_code(step, dry_run=False)
        self.touched = True
        meant.require_content(f"function {step.name}", step.code, taken)
        self._changed()

    def _send_code(self, step: UpdateCode, *, dry_run: bool) -> str:
        """Return the CodeSha256 that Lambda says it has taken."""
        with aws_errors(f"updating code of {step.name}"):
            answer = self._clients.lambda_.update_function_code(
                FunctionName=step.name,
                S3Bucket=self._store.bucket,
                S3Key=self._store.key(step.code.name),
                Architectures=[step.architecture],  # type: ignore[list-item]  # left out, Lambda takes x86_64
                RevisionId=self._revision,
                DryRun=dry_run,
            )
        return answer["CodeSha256"]

    def _tag(self, step: TagFunction) -> None:
        with aws_errors(f"tagging {step.name}"):
            arn = self._result.state.arn if self._result.state else ""
            self._clients.lambda_.tag_resource(Resource=arn, Tags=dict(step.tags))

    def _publish_version(self, step: PublishVersion) -> None:
        """Publish exactly the state that this build made: Lambda refuses if someone else has changed it since."""
        state = self._result.state
        with aws_errors(f"publishing a version of {step.name}"):
            answer = self._clients.lambda_.publish_version(
                FunctionName=step.name, CodeSha256=state.code_sha256 if state else "", RevisionId=self._revision
            )
        # Kept before waiting: after an error the next attempt must know this version.
        self._result.version = answer["Version"]
        frozen = self._settled(answer["Version"])
        if state is not None and (frozen.code_sha256, frozen.layers) != (state.code_sha256, state.layers):
            raise ContentMismatch(
                f"version {answer['Version']} of {step.name} does not have what was just deployed: its CodeSha256 is "
                f"{frozen.code_sha256}, its layers are {meant.listed(frozen.layers)}",
                hint="no alias was moved: deploy again with force, and delete that version",
            )

    def _try(self, step: TryFunction) -> None:
        qualifier = step.version or self._result.version or "$LATEST"
        with aws_errors(step.sentence):
            answer = self._clients.lambda_patient.invoke(
                FunctionName=step.name, Qualifier=qualifier, Payload=step.payload.encode(), LogType="Tail"
            )
        log_tail = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace").splitlines()[-_LOG_LINES:]
        # Read whole although it may be cut: only then is its size known.
        content = answer["Payload"].read()
        text, cut = content[:_MAX_ANSWER].decode(errors="replace"), len(content) > _MAX_ANSWER
        failure = answer.get("FunctionError")
        self._result.invoked = {
            "status": answer["StatusCode"],
            "version": qualifier,
            "payload": text if cut else json_or_text(text, deepest=_DEEPEST),
            "size": len(content),
            "cut": cut,
            "error": failure,
            "log_tail": log_tail,
        }
        if failure:
            where = f"version {qualifier}" if qualifier != "$LATEST" else "the deployed code"
            raise InvokeFailed(
                f"{step.name}: {where} returned an error for the payload ({failure}): {_error_text(text)}",
                hint=_AFTER_FAILURE[step.alias is not None],
                log_tail=log_tail,
            )

    def _point_alias(self, step: PointAlias) -> None:
        version = step.version or self._result.version or "$LATEST"
        state = self._result.state
        present = state.alias if state else None
        try:
            with aws_errors(step.sentence):
                if present is None:
                    self._clients.lambda_.create_alias(FunctionName=step.name, Name=step.alias, FunctionVersion=version)
                else:
                    whole = step.weight is None or version == present.version
                    self._clients.lambda_.update_alias(
                        FunctionName=step.name,
                        Name=step.alias,
                        FunctionVersion=version if whole else present.version,
                        RoutingConfig={"AdditionalVersionWeights": {} if whole else {version: step.weight or 0.0}},
                        RevisionId=present.revision_id,
                    )
        except FunctionBusy:
            # The conflict may be with our own first call, whose response was lost: then the alias serves the version
            # already.
            now = read_alias(self._clients, step.name, step.alias)
            if now is None or not now.serves(version, step.weight if present else None):
                raise
        self._result.version, self._result.alias = version, step.alias


def _error_text(text: str) -> str:
    """Return a function's error in one line: its type and message, or its text where it has neither."""
    error = json_or_text(text)
    members = error if isinstance(error, dict) else {}
    named = [str(members[key]) for key in ("errorType", "errorMessage") if members.get(key)]
    return (": ".join(named) or text)[:1000]


def _role_error(error: AwsRefused, function: str, role: str) -> AwsRefused:
    """Name the role in an error: AWS has one general code for a missing role and one that cannot be assumed."""
    if role and "iam:PassRole" in error.message:
        return not_allowed(role, (), "", function)
    if role and error_code(error) == "InvalidParameterValueException" and "role" in error.message.lower():
        return RoleMissing(
            f"function {function}: Lambda cannot use role {role}: {error.message}",
            hint="check the ARN, and that its trust policy lets lambda.amazonaws.com assume it",
        )
    return error

"""Carries out the publish half of a plan. Every step can be repeated, and each waits for Lambda before the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, FunctionMissing, RoleMissing
from builder.functions import wait_until_settled
from builder.steps import (
    CreateFunction,
    FunctionState,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Step,
    TagFunction,
    UpdateCode,
    UpdateConfiguration,
)

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.progress import Progress
    from builder.runtimes import Target
    from builder.store import S3Store
    from builder.workspace import Deadline

# Longest wait for Lambda to apply one update, or for somebody else's to end.
_SETTLE_S = 120.0


@dataclass(kw_only=True)
class Published:
    """What the steps brought about.

    `layers` are ARNs of new versions by component, `state` is the function's after the last change, `steps` says in
    words what was done.
    """

    layers: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    alias: str | None = None
    state: FunctionState | None = None
    steps: list[str] = field(default_factory=list)


class Publisher:
    """Walks the steps of one function's publication."""

    def __init__(
        self, clients: Clients, store: S3Store, target: Target, deadline: Deadline, progress: Progress
    ) -> None:
        self._clients = clients
        self._store = store
        self._target = target
        self._deadline = deadline
        self._progress = progress
        self._result = Published()

    def carry_out(self, steps: Sequence[Step], *, revision_id: str) -> Published:
        """Do `steps` in order.

        Args:
            revision_id: of the state that the plan was made from; AWS refuses the first change if somebody else was
                quicker.

        Raises:
            FunctionBusy: somebody else changed the function meanwhile; nothing of theirs is overwritten.
            AwsRefused, RoleMissing: with AWS's words.
        """
        revision = revision_id
        for step in steps:
            self._deadline.check(step.sentence)
            self._progress.say(step.sentence)
            match step:
                case PublishLayer():
                    self._publish_layer(step)
                case CreateFunction():
                    revision = self._create(step)
                case UpdateConfiguration():
                    revision = self._update_configuration(step, revision)
                case UpdateCode():
                    revision = self._update_code(step, revision)
                case TagFunction():
                    self._tag(step)
                case PublishVersion():
                    self._publish_version(step)
                case PointAlias():
                    self._point_alias(step)
            self._result.steps.append(step.sentence)
        return self._result

    def _settled(self, name: str) -> str:
        """The function's RevisionId once Lambda has applied the last change."""
        timeout = min(_SETTLE_S, self._deadline.check(f"waiting for {name}"))
        self._result.state = wait_until_settled(self._clients, name, timeout_s=timeout)
        return self._result.state.revision_id

    def _publish_layer(self, step: PublishLayer) -> None:
        choice = step.choice
        if choice.artifact is None:
            return
        optional = {"Description": choice.description, "LicenseInfo": choice.license}
        with aws_errors(f"publishing layer {choice.layer}"):
            answer = self._clients.lambda_.publish_layer_version(
                LayerName=choice.layer,
                Content={"S3Bucket": self._store.bucket, "S3Key": self._store.key(choice.artifact.name)},
                CompatibleRuntimes=list(choice.runtimes),  # type: ignore[arg-type]  # literals of an older model
                CompatibleArchitectures=[self._target.architecture],
                **{name: value for name, value in optional.items() if value},
            )
        arn = answer["LayerVersionArn"]
        self._store.write_json(layer_record(choice.layer, choice.artifact.sha256), {"arn": arn})
        self._result.layers[choice.component] = arn

    def _arns(self, layers: Sequence[str]) -> list[str]:
        return [self._result.layers.get(layer, layer) for layer in layers]

    def _create(self, step: CreateFunction) -> str:
        wanted = step.wanted
        settings: dict[str, object] = {**wanted.settings, "Role": step.role}
        try:
            with aws_errors(f"creating function {wanted.name}"):
                self._clients.lambda_.create_function(
                    FunctionName=wanted.name,
                    Code={"S3Bucket": self._store.bucket, "S3Key": self._store.key(step.code.name)},
                    Architectures=[wanted.target.architecture],
                    Layers=self._arns(step.layers),
                    Tags=dict(wanted.tags),
                    **settings,  # type: ignore[arg-type]  # Lambda's own names, checked by botocore's model
                )
        except AwsRefused as error:
            raise _role_error(error, wanted.name, step.role) from error
        return self._settled(wanted.name)

    def _update_configuration(self, step: UpdateConfiguration, revision: str) -> str:
        changes: dict[str, object] = dict(step.changes)
        if step.layers is not None:
            changes["Layers"] = self._arns(step.layers)
        try:
            with aws_errors(f"updating configuration of {step.name}"):
                self._clients.lambda_.update_function_configuration(
                    FunctionName=step.name,
                    RevisionId=revision,
                    **changes,  # type: ignore[arg-type]  # Lambda's own names, checked by botocore's model
                )
        except AwsRefused as error:
            raise _role_error(error, step.name, str(step.changes.get("Role", ""))) from error
        return self._settled(step.name)

    def _update_code(self, step: UpdateCode, revision: str) -> str:
        with aws_errors(f"updating code of {step.name}"):
            self._clients.lambda_.update_function_code(
                FunctionName=step.name,
                S3Bucket=self._store.bucket,
                S3Key=self._store.key(step.code.name),
                Architectures=[step.architecture],  # type: ignore[list-item]  # left out, Lambda takes x86_64
                RevisionId=revision,
            )
        return self._settled(step.name)

    def _tag(self, step: TagFunction) -> None:
        with aws_errors(f"tagging {step.name}"):
            arn = self._clients.lambda_.get_function(FunctionName=step.name)["Configuration"]["FunctionArn"]
            self._clients.lambda_.tag_resource(Resource=arn, Tags=dict(step.tags))

    def _publish_version(self, step: PublishVersion) -> None:
        with aws_errors(f"publishing a version of {step.name}"):
            answer = self._clients.lambda_.publish_version(FunctionName=step.name)
        self._result.version = answer["Version"]

    def _point_alias(self, step: PointAlias) -> None:
        version = self._result.version or "$LATEST"
        doing = f"pointing alias {step.alias} of {step.name} at version {version}"
        try:
            with aws_errors(doing):
                present = self._clients.lambda_.get_alias(FunctionName=step.name, Name=step.alias)
        except FunctionMissing:
            with aws_errors(doing):
                self._clients.lambda_.create_alias(FunctionName=step.name, Name=step.alias, FunctionVersion=version)
        else:
            if present["FunctionVersion"] != version:
                with aws_errors(doing):
                    self._clients.lambda_.update_alias(
                        FunctionName=step.name,
                        Name=step.alias,
                        FunctionVersion=version,
                        RevisionId=present.get("RevisionId", ""),
                    )
        self._result.alias = step.alias


def layer_record(layer: str, sha256: str) -> str:
    """The name in the store that remembers which version of a layer has an artifact."""
    return f"layers/{layer}/{sha256}.json"


def known_layer_arn(record: Mapping[str, object] | None) -> str | None:
    """The ARN that a layer record names."""
    return str(record["arn"]) if record else None


def _role_error(error: AwsRefused, function: str, role: str) -> AwsRefused:
    """AWS refuses a role that is missing or not assumable with one general code; say which role it was."""
    if role and error_code(error) == "InvalidParameterValueException" and "role" in error.message.lower():
        return RoleMissing(
            f"function {function}: Lambda cannot use role {role}: {error.message}",
            hint="check the ARN, and that its trust policy lets lambda.amazonaws.com assume it",
        )
    return error

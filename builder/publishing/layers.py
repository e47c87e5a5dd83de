"""Layer versions: made of an artifact in the store once, and found again by its content, whatever layer has it.

`layers/SHA256.json` in the store says which version has an artifact: {"arn", "runtimes", "architecture"}.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, ContentMismatch, FunctionMissing
from builder.stored import Fields

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.plan import Artifact
    from builder.runtimes import Target
    from builder.store import S3Store


@dataclass(frozen=True, kw_only=True)
class KnownVersion:
    """A layer version that was made of an artifact, and what it says that it is for."""

    arn: str
    runtimes: tuple[str, ...]
    architecture: str

    def as_json(self) -> dict[str, object]:
        """For the store."""
        return {"arn": self.arn, "runtimes": list(self.runtimes), "architecture": self.architecture}

    @classmethod
    def parse(cls, kept: Fields) -> KnownVersion:
        """What `as_json` gave."""
        return cls(arn=kept.text("arn"), runtimes=kept.texts("runtimes"), architecture=kept.text("architecture"))


def known_version(
    clients: Clients,
    store: S3Store,
    artifact: Artifact,
    *,
    target: Target,
    runtimes: Sequence[str],
    attached: Collection[str] = (),
) -> str | None:
    """The ARN of a layer version that has just this content and says that it is for `target` and all of `runtimes`.

    Args:
        attached: ARNs that need not be looked for, because a function has them now.
    """
    kept = store.find(_record(artifact), KnownVersion.parse)
    if kept is None or kept.architecture != target.architecture or not set(runtimes) <= set(kept.runtimes):
        return None
    return kept.arn if kept.arn in attached or content_sha256(clients, kept.arn) == artifact.sha256 else None


def publish_version(
    clients: Clients,
    store: S3Store,
    artifact: Artifact,
    *,
    name: str,
    target: Target,
    runtimes: Sequence[str],
    description: str = "",
    license_info: str = "",
) -> str:
    """Make a new version of layer `name` of the artifact in the store; its ARN.

    Raises:
        AwsRefused: with AWS's words.
    """
    optional = {"Description": description, "LicenseInfo": license_info}
    with aws_errors(f"publishing layer {name}"):
        answer = clients.lambda_.publish_layer_version(
            LayerName=name,
            Content={"S3Bucket": store.bucket, "S3Key": store.key(artifact.name)},
            CompatibleRuntimes=list(runtimes),  # type: ignore[arg-type]  # literals of an older model
            CompatibleArchitectures=[target.architecture],
            **{key: value for key, value in optional.items() if value},
        )
    arn, content = answer["LayerVersionArn"], base64.b64decode(answer["Content"].get("CodeSha256", "")).hex()
    if content != artifact.sha256:
        raise ContentMismatch(
            f"layer {name}: Lambda has made version {answer['Version']} of other content than was built: "
            f"{content} instead of {artifact.sha256}",
            hint="somebody else writes to the builder's store; nothing uses that version: delete it, and deploy with "
            "force",
        )
    known = KnownVersion(arn=arn, runtimes=tuple(runtimes), architecture=target.architecture)
    store.write_json(_record(artifact), known.as_json())
    return arn


def _record(artifact: Artifact) -> str:
    return f"layers/{artifact.sha256}.json"


def content_sha256(clients: Clients, arn: str) -> str:
    """The hash of a layer version's zip, in hexadecimal; empty if there is no such version any more."""
    try:
        with aws_errors(f"reading layer {arn}"):
            content = clients.lambda_.get_layer_version_by_arn(Arn=arn)["Content"]
    except FunctionMissing:
        return ""
    except AwsRefused as error:
        if error_code(error) in ("InvalidParameterValueException", "404"):
            return ""
        raise
    return base64.b64decode(content["CodeSha256"]).hex()

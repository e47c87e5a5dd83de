"""Layer versions: made of an artifact in the store once, and found again by their content, whichever layer has it.

Each version that a builder publishes is signed: its description, which nobody can change afterwards, ends with
`[lambdasmith HASH STORE]`, the beginning of its content's sha256 and which store the builder has. `layers/SHA256.json`
in the store says which version has an artifact: {"arn", "runtimes", "architecture"}. It saves calls; without it the
account is asked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.arns import layer_of
from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, ContentMismatch, FunctionMissing
from builder.store.values import Fields

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import LayerVersionsListItemTypeDef

    from builder.aws import Clients
    from builder.plan import Artifact
    from builder.runtimes import Target
    from builder.store.s3 import S3Store

# https://docs.aws.amazon.com/lambda/latest/api/API_PublishLayerVersion.html
_MAX_DESCRIPTION = 256
# Newest versions of a layer among which content is looked for: what one call lists.
_LISTED = 50
_SHOWN = 16
_SIGNED = re.compile(r"\[lambdasmith ([0-9a-f]{16}) ([0-9a-f]{8})\]\Z")


@dataclass(frozen=True, kw_only=True)
class LayerContent:
    """What Lambda says of a layer version. `sha256` is its zip's, `location` a URL to that for some minutes."""

    sha256: str
    description: str
    location: str

    @property
    def is_signed(self) -> bool:
        """Whether a builder published it: someone may copy a description, but not to other content."""
        found = _SIGNED.search(self.description)
        return found is not None and found[1] == self.sha256[:_SHOWN]


def read_content(clients: Clients, arn: str) -> LayerContent | None:
    """What Lambda says of the layer version, None if there is no such version any more.

    Raises:
        AccessDenied: the builder may not see it.
        AwsRefused: AWS will not tell.
    """
    try:
        with aws_errors(f"reading layer {arn}"):
            answer = clients.lambda_.get_layer_version_by_arn(Arn=arn)
    except FunctionMissing:
        return None
    except AwsRefused as error:
        if error_code(error) in ("InvalidParameterValueException", "404"):
            return None
        raise
    content = answer["Content"]
    return LayerContent(
        sha256=base64.b64decode(content["CodeSha256"]).hex(),
        description=answer.get("Description", ""),
        location=content.get("Location", ""),
    )


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
    name: str,
    target: Target,
    runtimes: Sequence[str],
    attached: Collection[str] = (),
    others: Iterable[str] = (),
    read: Callable[[str], LayerContent | None] | None = None,
) -> str | None:
    """The ARN of a layer version that has just this content and says that it is for `target` and all of `runtimes`.

    The store says where it is. Where it does not, because it was lost or is another builder's, the account is asked:
    first for the layer versions `others`, then for those of the layer `name`.

    Args:
        attached: ARNs that need not be looked for, because a function has them now.
        others: ARNs of layer versions that may have it.
        read: `read_content`, or what remembers its answers.
    """
    ask = read or (lambda arn: read_content(clients, arn))
    kept = store.find(_record(artifact), KnownVersion.parse)
    if (
        kept is not None
        and (kept.architecture == target.architecture and set(runtimes) <= set(kept.runtimes))
        and (kept.arn in attached or ((found := ask(kept.arn)) and found.sha256 == artifact.sha256))
    ):
        return kept.arn
    names = {layer_of(arn) for arn in others if (found := ask(arn)) and found.sha256 == artifact.sha256}
    for layer in (*sorted(names), name):
        for version in _signed_versions(clients, layer, artifact):
            arn, fits = version.get("LayerVersionArn", ""), set(runtimes) <= {*version.get("CompatibleRuntimes", ())}
            built_for = version.get("CompatibleArchitectures", ())
            if fits and target.architecture in built_for and (found := ask(arn)) and found.sha256 == artifact.sha256:
                _remember(store, artifact, arn, version.get("CompatibleRuntimes", ()), target)
                return arn
    return None


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
    optional = {"Description": signed(description, artifact.sha256, store), "LicenseInfo": license_info}
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
            hint="someone else writes to the builder's store; nothing uses that version: delete it, and deploy with "
            "force",
        )
    _remember(store, artifact, arn, runtimes, target)
    return arn


def signed(description: str, sha256: str, store: S3Store) -> str:
    """The description of a layer version that a builder publishes; too long a text is cut, the signature never."""
    signature = f"[lambdasmith {sha256[:_SHOWN]} {store.identity}]"
    room = _MAX_DESCRIPTION - len(signature) - 1
    text = description if len(description) <= room else f"{description[: room - 1]}…"
    return f"{text} {signature}" if text else signature


def is_from(description: str, store: S3Store) -> bool:
    """Whether a builder with this store published the layer version of that description."""
    found = _SIGNED.search(description)
    return found is not None and found[2] == store.identity


def _signed_versions(clients: Clients, layer: str, artifact: Artifact) -> list[LayerVersionsListItemTypeDef]:
    """The newest versions of the layer that say that they have the artifact; none where there is no such layer."""
    try:
        with aws_errors(f"listing versions of layer {layer}"):
            page = clients.lambda_.list_layer_versions(LayerName=layer, MaxItems=_LISTED)
    except FunctionMissing:
        return []
    signed_so = [(version, _SIGNED.search(version.get("Description", ""))) for version in page["LayerVersions"]]
    return [version for version, found in signed_so if found and found[1] == artifact.sha256[:_SHOWN]]


def _remember(store: S3Store, artifact: Artifact, arn: str, runtimes: Sequence[str], target: Target) -> None:
    known = KnownVersion(arn=arn, runtimes=tuple(runtimes), architecture=target.architecture)
    store.write_json(_record(artifact), known.as_json())


def _record(artifact: Artifact) -> str:
    return f"layers/{artifact.sha256}.json"

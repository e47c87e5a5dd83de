"""Layer versions: made once from an artifact in the store, and found again by their content, in any layer.

Each version that a builder publishes is signed: its description, which cannot be changed afterwards, ends with
`[lambdasmith HASH STORE]`: the beginning of its content's sha256, and an id of the builder's store.
`layers/SHA256.json` in the store names the version with an artifact: {"arn", "runtimes", "architecture"}. It saves
calls; without it the builder asks the account.
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
# Number of a layer's newest versions that are searched for content: one page of the list.
_LISTED = 50
# 64 bits: enough to find candidates in a description of 256 characters; their whole hash is compared afterwards.
_SHOWN = 16
_SIGNED = re.compile(r"\[lambdasmith ([0-9a-f]{16}) ([0-9a-f]{8})\]\Z")


@dataclass(frozen=True, kw_only=True)
class LayerContent:
    """Lambda's facts of a layer version.

    `sha256` is its zip's, `location` a URL of the zip that is valid for minutes.
    """

    sha256: str
    description: str
    location: str

    @property
    def is_signed(self) -> bool:
        """Whether a builder published it: a copied description does not match other content."""
        found = _SIGNED.search(self.description)
        return found is not None and found[1] == self.sha256[:_SHOWN]


def read_content(clients: Clients, arn: str) -> LayerContent | None:
    """Return Lambda's facts of the layer version, None if it no longer exists.

    Raises:
        AccessDenied: the builder may not see it.
        AwsRefused: AWS refuses to read it.
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
    """Layer version made from an artifact, with its declared architecture and runtimes."""

    arn: str
    runtimes: tuple[str, ...]
    architecture: str

    def as_json(self) -> dict[str, object]:
        """Return the JSON for the store."""
        return {"arn": self.arn, "runtimes": list(self.runtimes), "architecture": self.architecture}

    @classmethod
    def parse(cls, kept: Fields) -> KnownVersion:
        """Parse the result of `as_json`."""
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
    """Return the ARN of a layer version with exactly this content that is declared for `target` and all of `runtimes`.

    The store knows its place. If it does not, because it was lost or the layer is another builder's, ask the account:
    first for the layer versions `others`, then for those of the layer `name`.

    Args:
        attached: ARNs that need no check, because a function has them now.
        others: ARNs of layer versions that may have the content.
        read: `read_content`, or a cache of its results.
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
    """Publish a new version of layer `name` from the artifact in the store; return its ARN.

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
    # Before it is remembered: the store must never name a version with other content.
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
    """Return the description of a layer version that a builder publishes.

    A long text is cut, the signature never.
    """
    signature = f"[lambdasmith {sha256[:_SHOWN]} {store.identity}]"
    room = _MAX_DESCRIPTION - len(signature) - 1
    text = description if len(description) <= room else f"{description[: room - 1]}…"
    return f"{text} {signature}" if text else signature


def is_from(description: str, store: S3Store) -> bool:
    """Tell whether a builder with this store published the layer version with that description."""
    found = _SIGNED.search(description)
    return found is not None and found[2] == store.identity


def _signed_versions(clients: Clients, layer: str, artifact: Artifact) -> list[LayerVersionsListItemTypeDef]:
    """Return the newest versions of the layer that are signed for the artifact.

    There are none without such a layer.
    """
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

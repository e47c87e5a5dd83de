"""What a template can ask of a custom resource, and the answer within CloudFormation's 4,096 bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from builder.errors import ArtifactTooLarge
from builder.plan import FUNCTION
from builder.reply import Reply

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
MAX_BYTES = 4096
_CUT = " … "
# Attribute → field of a package; of the function in the reply to `build`; of the function in the build file.
_PACKAGE = {"Bucket": "bucket", "Key": "key", "VersionId": "version_id", "CodeSha256": "code_sha256"}
_DEPLOYED = {"FunctionName": "name", "FunctionArn": "arn", "Version": "version", "Alias": "alias", "Url": "url"}
_SETTINGS = {
    "Runtime": "runtime",
    "Handler": "handler",
    "Architecture": "architecture",
    "MemorySize": "memory",
    "Timeout": "timeout",
}
# Lambda's own: a template cannot ask for an attribute only if it is there.
_DEFAULTS = {"MemorySize": 128, "Timeout": 3}
_LAYER = {"Arn": "arn", "Key": "key", "VersionId": "version_id"}


def attributes(reply: Reply) -> dict[str, object]:
    """The attributes for `Fn::GetAtt`, all texts, from a reply to `package` or `build`; none that has no value.

    Layers are flat: `Layers.NAME.Key`.
    """
    packages = cast("Sequence[Mapping[str, object]]", reply.get("packages") or ())
    layers = cast("Sequence[Mapping[str, object]]", reply.get("layers") or ())
    function = cast("Mapping[str, object]", reply.get("function") or {})
    found: dict[str, object] = {"CommitId": reply.get("commit"), "BuildId": reply.get("build_id")}
    found |= {name: function.get(key) for name, key in _DEPLOYED.items()}
    if "runtime" in function:
        found |= {name: function.get(key) or _DEFAULTS.get(name) for name, key in _SETTINGS.items()}
    found["CodeSha256"] = found["SourceCodeHash"] = function.get("code_sha256")
    for row in packages:
        found["Bucket"] = row["bucket"]
        if row["name"] == FUNCTION:
            found |= {name: row.get(key) for name, key in _PACKAGE.items()}
            found["SourceCodeHash"] = row.get("source_code_hash")
    for row in (*packages, *layers):
        if row["name"] != FUNCTION:
            found |= {f"Layers.{row['name']}.{name}": row.get(key) for name, key in _LAYER.items()}
    return {name: str(value) for name, value in found.items() if value is not None}


def reason(error: Mapping[str, object], log_place: str) -> str:
    """An error for whoever reads the stack's events: what is wrong, what to do, what a tool said, where the log is."""
    lines = [str(error["message"]), str(error.get("hint") or "")]
    lines += cast("Sequence[str]", error.get("log_tail") or ())
    return "\n".join([line for line in lines if line] + [f"({log_place})"])


def fitted(answer: Mapping[str, object], why: str) -> bytes:
    """The answer as JSON, with as much of `why` as there is room for: its beginning, and its end.

    Raises:
        ArtifactTooLarge: the answer alone is too long.
    """
    room = MAX_BYTES - len(_json({**answer, "Reason": ""}))
    if room < 0:
        raise ArtifactTooLarge(
            f"the attributes are {-room:,} bytes more than the {MAX_BYTES:,} that CloudFormation takes",
            hint="name some of the layers in Components, and give each custom resource its own",
        )
    cut, length = why, min(len(why), room)
    while len(_json(cut)) - 2 > room:
        length -= max(1, length // 50)
        kept = max(0, length - len(_CUT))
        # The beginning says what is wrong, the end is the newest that a tool said.
        cut = why[: kept * 2 // 3] + _CUT + why[len(why) - kept // 3 :]
    return _json({**answer, "Reason": cut} if cut else answer)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

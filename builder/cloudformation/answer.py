"""Attributes of a custom resource, and the response within CloudFormation's 4,096 bytes."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import ArtifactTooLarge
from builder.flow.report import explained

if TYPE_CHECKING:
    from builder.replies.deploys import Error
    from builder.replies.projects import FunctionRow
    from builder.replies.reply import Reply

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
# Lambda's limit on layers: a template cannot ask for an attribute only if it exists.
_DEFAULTS = {"MemorySize": 128, "Timeout": 3}
_LAYER = {"Arn": "arn", "Key": "key", "VersionId": "version_id"}


def attributes(reply: Reply) -> dict[str, object]:
    """Return the attributes for `Fn::GetAtt` from a reply to `package` or `build`, all strings, without empty ones.

    Layers are flat: `Layers.NAME.Key`. So are a project's functions, under their names in the build file:
    `Functions.NAME.Key`, `Functions.NAME.Layers.LAYER.Key`.
    """
    packages, layers = reply.get("packages", []), reply.get("layers", [])
    function: Mapping[str, object] = reply.get("function") or {}
    found: dict[str, object] = {"CommitId": reply.get("commit"), "BuildId": reply.get("build_id")}
    found |= {name: function.get(key) for name, key in _DEPLOYED.items()}
    if "runtime" in function:
        found |= {name: function.get(key) or _DEFAULTS.get(name) for name, key in _SETTINGS.items()}
    found["CodeSha256"] = found["SourceCodeHash"] = function.get("code_sha256")
    for row in packages:
        found["Bucket"] = row["bucket"]
        if row["kind"] == "function":
            found |= {name: row.get(key) for name, key in _PACKAGE.items()}
            found["SourceCodeHash"] = row.get("source_code_hash")
    rows: list[Mapping[str, object]] = [*packages, *layers]
    for each in rows:
        if each.get("kind") != "function":
            found |= {f"Layers.{each['name']}.{name}": each.get(key) for name, key in _LAYER.items()}
    for member in reply.get("functions", []):
        found |= {f"Functions.{member['key']}.{name}": value for name, value in _of_project(member)}
        for package in member.get("packages", []):
            found["Bucket"] = package["bucket"]
    return {name: str(value) for name, value in found.items() if value is not None}


def _of_project(row: FunctionRow) -> Iterator[tuple[str, object]]:
    """Yield the attributes of one of a project's functions: only those that it has after each build.

    Hashes and object versions would double the length: a key is already the hash of what it names.
    """
    packages = row.get("packages")
    yield "Name", row["name"]
    if packages is None:
        yield "Arn", row.get("arn")
        return
    said: Mapping[str, object] = row.get("function") or {}
    yield from ((name, said.get(key) or _DEFAULTS.get(name)) for name, key in _SETTINGS.items())
    for package in packages:
        yield ("" if package["kind"] == "function" else f"Layers.{package['name']}.") + "Key", package["key"]


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Reason of a failure, for readers of the stack's events; empty without one.

    `message` says what is wrong, `hint` what to do, `tail` is a tool's last output, `place` is the log's.
    """

    message: str = ""
    hint: str = ""
    tail: str = ""
    place: str = ""

    @classmethod
    def of(cls, error: Error, log_place: str) -> Reason:
        """Return the reason in the error of a reply."""
        passing = "this may be temporary: deploy the stack again" if error.get("retryable") else ""
        return cls(
            message=error["message"],
            hint=(error.get("hint") or passing or f"docs/reference.md#errors says what {error['code']} means"),
            tail="\n".join(error.get("log_tail", [])),
            place=log_place,
        )

    def text(self) -> str:
        """Return all of it, as every other door tells an error."""
        if self == Reason():
            return ""
        report = explained({"message": self.message, "hint": self.hint, "log_tail": self.tail}, place=self.place)
        return report.plain.rstrip("\n")

    def within(self, room: int) -> str:
        """Return as much as has room in JSON: a tool's words are cut first, then message and hint."""
        kept = self
        # Only the message says what failed: a hint that alone has no room leaves it a third.
        for name, least in (("tail", 0), ("message", room // 3), ("hint", 0), ("place", 0)):
            if _size(kept.text()) <= room:
                break
            part = str(getattr(kept, name))

            def cut(length: int, why: Reason = kept, name: str = name, part: str = part) -> Reason:
                return replace(why, **{name: _shortened(part, length)})

            # Not by arithmetic: each line of a text takes more room than its own length.
            fits = bisect_right(range(_size(part) + 1), room, key=lambda length: _size(cut(length).text()))
            kept = cut(max(least, fits - 1))
        return kept.text() if _size(kept.text()) <= room else _shortened(kept.text(), room)


def fitted(answer: Mapping[str, object], why: Reason) -> bytes:
    """Return the response as JSON, with as much of the reason as fits.

    Raises:
        ArtifactTooLarge: the response alone is too long.
    """
    room = MAX_BYTES - len(_json({**answer, "Reason": ""}))
    if room < 0:
        raise ArtifactTooLarge(
            f"the attributes are {-room:,} bytes more than the {MAX_BYTES:,} that CloudFormation takes",
            hint="name some of the functions or layers in Components, and give each custom resource its own",
        )
    reason = why.within(room)
    return _json({**answer, "Reason": reason} if reason else answer)


def _shortened(text: str, room: int) -> str:
    """Return the beginning and the end of a text: the one says what is wrong, the other is the newest."""
    cut, length = text, min(len(text), max(room, 0))
    while cut and _size(cut) > room:
        length -= max(1, length // 50)
        kept = length - len(_CUT)
        cut = text[: kept * 2 // 3] + _CUT + text[len(text) - kept // 3 :] if kept > 0 else ""
    return cut


def _size(text: str) -> int:
    """Return the number of bytes of a text within JSON."""
    return len(_json(text)) - 2


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

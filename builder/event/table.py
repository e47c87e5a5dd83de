"""Fields of an event: the one table behind the parser, the JSON Schema and the reference.

A new field is one row here and one line in `builder.event.read`. Only the standard library, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from builder.event.request import Action, Request
from builder.paths import PATH_PATTERN

Schema = Mapping[str, object]

# Regular expressions that mean the same to JSON Schema and Python; they match the whole text.
NAME = r"[A-Za-z0-9_-]{1,64}"
ALIAS = r"[A-Za-z0-9_-]{1,128}"
BUILD_ID = r"[A-Za-z0-9._-]{1,128}"
BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
REPO_NAME = r"[A-Za-z0-9._-]{1,128}"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
PARAMETER, MAX_PARAMETERS, MAX_PARAMETER = "[A-Za-z0-9]{1,255}", 200, 4096
STACK = "[A-Za-z][A-Za-z0-9-]{0,127}"
BUILD_FILE = r"[^/\\\x00-\x1f\x7f]{1,200}\.(?:ya?ml|json)"
# Names that git allows for a branch or tag.
REF = r"(?![-/.])(?!.*(?:\.\.|//|@\{|/\.|\.lock/|\.lock$|[/.]$))[^\x00-\x20\x7f~^:?*\[\\]+"
# Bounds of texts that appear in messages, records and names of S3 objects.
MAX_REF, MAX_COMPONENTS, MAX_BY, MAX_COUNT = 255, 50, 128, 100
# The payload comes inside an event, which may be an asynchronous one: Lambda limits those.
MAX_PAYLOAD_BYTES = 256 << 10
REPLY_MEMBER, MAX_MEMBERS = r"[A-Za-z_]{1,40}", 50
SOURCE_MEMBERS = ("bucket", "key", "manifest", "version_id", "sha256")
MANIFEST_SHA256 = "[0-9a-f]{64}"
ARCHITECTURES: Mapping[str, Literal["x86_64", "arm64"]] = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "arm64": "arm64",
    "aarch64": "arm64",
}

BUILDING = (Action.BUILD, Action.PLAN, Action.PACKAGE)
_DEPLOYING = (Action.BUILD, Action.PLAN)
_BACK = (Action.ROLLBACK, Action.VERIFY)
_ALL = tuple(Action)


@dataclass(frozen=True, kw_only=True)
class EventField:
    """A field: actions that it has a meaning for (one row for each meaning), its values, a sentence about it.

    `schema` is JSON Schema of the values; null, which counts as absent, is not in it.
    """

    name: str
    actions: tuple[Action, ...]
    schema: Schema
    meaning: str


def _text(pattern: str, **more: object) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", **more}


def _row(name: str, actions: tuple[Action, ...], schema: Schema, meaning: str) -> EventField:
    return EventField(name=name, actions=actions, schema=schema, meaning=meaning)


# Older clients send flags as text.
_FLAG_VALUES = (True, False, "true", "false")
_FLAG: Schema = {"enum": list(_FLAG_VALUES)}
# The text of a reply as deploy.sh reads it.
SHELL = "shell"
_NAMES: Schema = {"type": "array", "items": _text(NAME), "maxItems": MAX_COMPONENTS}
_MANIFEST_SHA256: Schema = {"type": ["string", "null"], "pattern": f"^{MANIFEST_SHA256}$"}
# A name of digits only would be a version to Lambda.
_ALIAS = _text(f"(?![0-9]+$){ALIAS}")
_WEIGHTED: Schema = {
    "type": "object",
    "properties": {
        "name": _ALIAS,
        "weight": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    },
    "required": ["name", "weight"],
    "additionalProperties": False,
}


def _in_s3(what: str, **more: Schema) -> Schema:
    """Return the schema of an object in S3 that is named by `what`."""
    return {
        "type": "object",
        "properties": {
            "bucket": _text(BUCKET),
            what: {"type": "string", "minLength": 1},
            "version_id": {"type": ["string", "null"], "minLength": 1},
            **more,
        },
        "required": ["bucket", what],
        "additionalProperties": False,
    }


ACTION = EventField(
    name="action",
    actions=_ALL,
    schema={"type": "string", "anyOf": [{"enum": [*Action]}, {"pattern": rf"^build(?: +{NAME})+$"}]},
    meaning=", ".join(f"`{action}`" for action in Action),
)

FIELDS: tuple[EventField, ...] = (
    _row("function", (*BUILDING, Action.HISTORY, *_BACK), _text(NAME), "name of the Lambda function"),
    _row(
        "project",
        (*BUILDING, Action.HISTORY, *_BACK),
        _text(NAME),
        "instead of `function`: name of the project. A single function has the same name; several functions are named "
        "by the build file, and all of them are meant",
    ),
    _row(
        "stage",
        (*BUILDING, Action.HISTORY, *_BACK),
        _text(NAME),
        "stage of the build file, one of its `stages`; a single function and the project are called NAME-STAGE then",
    ),
    _row(
        "parameters",
        BUILDING,
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{PARAMETER}$"},
            "additionalProperties": {"type": "string", "maxLength": MAX_PARAMETER},
            "maxProperties": MAX_PARAMETERS,
            "examples": [{"Stage": "prod"}],
        },
        "of a SAM or CloudFormation template: values of its parameters, instead of their defaults",
    ),
    _row(
        "stack",
        (Action.BUILD,),
        _text(STACK),
        "of a SAM or CloudFormation template: an existing stack, whose functions get new code and layers at once",
    ),
    _row(
        "independent",
        _DEPLOYING,
        _FLAG,
        "of several functions, publish those that can be built, even if others cannot",
    ),
    _row("function", (Action.STATUS,), _text(NAME), "list only the builds of this function"),
    _row("function", (Action.SETUP,), _text(NAME), "the builder's own name, which can be left out"),
    _row(
        "repo",
        BUILDING,
        {"type": "string", "minLength": 1, "examples": ["team/thumbs", "https://github.com/team/thumbs.git"]},
        "`https` URL, or `owner/name`",
    ),
    _row("repo_name", BUILDING, _text(REPO_NAME), "instead of `repo`: a name below the builder's git base"),
    _row(
        "archive",
        BUILDING,
        {
            "type": "string",
            "minLength": 1,
            "contentEncoding": "base64",
            "examples": ["UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="],
        },
        "instead of a repository: base64 of a zip, tar, tar.gz or tar.zst",
    ),
    _row(
        "source",
        BUILDING,
        {"anyOf": [_in_s3("key"), _in_s3("manifest", sha256=_MANIFEST_SHA256)]},
        'instead of a repository: such an archive in S3, `{"bucket", "key", "version_id"}`, or a manifest of files '
        'there, `{"bucket", "manifest", "version_id", "sha256"}`, see below; the builder\'s role must be allowed to '
        "read it",
    ),
    _row(
        "ref",
        BUILDING,
        _text(REF, maxLength=MAX_REF),
        "branch, tag, commit (also short); without it the repository's default branch",
    ),
    _row("branch", BUILDING, _text(REF, maxLength=MAX_REF), "another name for `ref`"),
    _row("path", BUILDING, _text(PATH_PATTERN), "the project's directory in the repository"),
    _row("build_file", BUILDING, _text(BUILD_FILE), "another name than `build.yaml`, `build.yml` or `build.json`"),
    _row(
        "components",
        BUILDING,
        {"anyOf": [_NAMES, _text(rf"{NAME}(?: +{NAME})*")]},
        f"some of `function`, `dependencies` and the layers' names, at most {MAX_COMPONENTS}; without it all. Of a "
        "project with several functions, also their names",
    ),
    _row("version", _DEPLOYING, _FLAG, "publish a version"),
    _row(
        "alias",
        _DEPLOYING,
        {"anyOf": [_ALIAS, _WEIGHTED]},
        'publish a version and let this alias serve it; `{"name": …, "weight": 0.1}` sends it that part of the '
        "traffic, above 0 and below 1",
    ),
    _row("alias", _BACK, _ALIAS, "the alias to roll back, or to look at"),
    _row(
        "invoke",
        (Action.BUILD,),
        {},
        f"any JSON value, at most {MAX_PAYLOAD_BYTES >> 10} kB: the new version is tried with it",
    ),
    _row(
        "build",
        _BACK,
        _text(BUILD_ID),
        "id of the build to return to, or to verify; without it the previous build, or the deployed one",
    ),
    _row(
        "preview",
        (Action.ROLLBACK,),
        _FLAG,
        "only report the present state, the state after a rollback, and the differences",
    ),
    _row(
        "count",
        (Action.HISTORY,),
        {"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "default": Request.count},
        f"how many builds, 1 to {MAX_COUNT}; without it {Request.count}",
    ),
    _row(
        "architecture",
        (Action.PACKAGE,),
        {"enum": [*ARCHITECTURES]},
        "`x86_64` (`amd64`) or `arm64` (`aarch64`), instead of the build file's; if neither is set, the builder's own",
    ),
    _row(
        "attached",
        (Action.PACKAGE,),
        _NAMES,
        "names of layers from elsewhere that the deploying tool also attaches: their content is not known here, so "
        "the handler is not tried",
    ),
    _row("force", (*BUILDING, Action.SETUP), _FLAG, "build everything again, even if the store has it"),
    _row(
        "publish_only",
        (Action.SETUP,),
        _FLAG,
        "make and publish the builder's layer, but do not attach it: the caller does that",
    ),
    _row(
        "rights",
        (Action.PING,),
        _FLAG,
        "also check whether the builder may change itself now; only while `setup.py` sets it up",
    ),
    _row("upgrade", BUILDING, _FLAG, "resolve the dependencies again instead of using the stored lock"),
    _row(
        "by",
        _ALL,
        {"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*$", "maxLength": MAX_BY, "minLength": 1},
        f"who asks: up to {MAX_BY} printable characters, kept in the record of the build",
    ),
    _row(
        "made",
        (Action.BUILD,),
        _FLAG,
        "sent by the state machine of `fan_out`, with the `build_id` of the build that has started it: the functions "
        "were made by other invocations and are published now; what is missing is made",
    ),
    _row(
        "build_id",
        _ALL,
        _text(BUILD_ID),
        "makes a request safe to send again: the same id is built once, and always gets the same reply",
    ),
    _row(
        "on_error",
        _ALL,
        {"enum": ["reply", "raise"]},
        "`raise`: failures are Lambda errors, `errorType` is the code, `errorMessage` the message, the end of the "
        'log and the hint; without it, or with `reply`, they are replies, except for `{"name", "architecture", '
        '"archive"}`, which raises without it',
    ),
    _row(
        "reply",
        _ALL,
        {"type": "array", "items": _text(REPLY_MEMBER), "maxItems": MAX_MEMBERS},
        "a list of the reply's members to return, besides `statusCode`; without it all",
    ),
    _row(
        "text",
        _ALL,
        {"enum": [*_FLAG_VALUES, SHELL]},
        "add `text` to the reply: what it says, for people, plain and in colour; with `shell` as deploy.sh reads it",
    ),
    _row(
        "tf",
        _ALL,
        {"type": "object", "properties": {"action": {"enum": ["create", "update"]}}, "required": ["action"]},
        'added by Terraform with `lifecycle_scope = "CRUD"`: with `{"action": "delete"}`, the rest of the event is '
        "ignored (after `setup`, the builder removes the versions of its own layer); `create` and `update` have no "
        "effect",
    ),
)

# Fields with a meaning, by action. Any other field would be ignored silently, so it is reported as a problem.
AVAILABLE: Mapping[Action, tuple[str, ...]] = {
    action: tuple(field.name for field in FIELDS if action in field.actions) for action in Action
}

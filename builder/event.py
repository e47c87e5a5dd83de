"""The request: one Lambda event, checked, as a frozen value.

Standard library only, on purpose: `ping` and `setup` arrive while the builder still runs on its starter layer, which
has no pydantic, and a build sent then must still be understood well enough to be told "run setup first".

Two shapes are read, the second for ever:

    {"action": "build", "function": "thumbs", "repo": "me/thumbs", "ref": "main", "components": ["dependencies"]}
    {"action": "build function dependencies", "function": "thumbs", "repo_name": "thumbs", "branch": "main"}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from builder.errors import InvalidEvent
from builder.sources.paths import normalised, path_problem
from builder.sources.urls import url_problem


class Action(StrEnum):
    """What can be asked of the builder, `AVAILABLE` or not."""

    SETUP = "setup"
    BUILD = "build"
    PACKAGE = "package"
    PLAN = "plan"
    STATUS = "status"
    HISTORY = "history"
    ROLLBACK = "rollback"
    VERIFY = "verify"
    PING = "ping"


_PROJECT = (
    "function",
    "repo",
    "repo_name",
    "ref",
    "branch",
    "path",
    "build_file",
    "components",
    "version",
    "alias",
    "force",
    "upgrade",
    "build_id",
)
# Per action that this version carries out, the fields that mean something to it. Any other one would be ignored
# silently, so it is a problem instead.
AVAILABLE: Mapping[Action, tuple[str, ...]] = {
    Action.BUILD: _PROJECT,
    Action.PLAN: _PROJECT,
    Action.SETUP: ("build_id", "force"),
    Action.STATUS: ("build_id",),
    Action.PING: ("build_id",),
}
_FIELDS = ("action", *_PROJECT)
_LATER = ("archive", "source", "invoke")

_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FUNCTION_ARN = re.compile(
    r"(?:arn:[^:\s]*:lambda:[^:\s]*:)?\d{12}:(?:function:)?(?P<name>[A-Za-z0-9_-]{1,64})(?::\S*)?"
)
_COMPONENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,128}")
_BUILD_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_REPO_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_BUILD_FILE = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}\.(?:ya?ml|json)")
_MAX_REF, _MAX_COMPONENTS = 255, 50


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """A repository and what to take of it.

    Exactly one of `repo` (https URL, or `owner/name`) and `repo_name` (a name below the builder's git base) is set.
    `ref` is a branch, tag, commit or full ref name; None means the repository's default branch.
    """

    repo: str | None = None
    repo_name: str | None = None
    ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One checked event.

    `function` and `source` are set for build and plan. `path` is the project's directory in the repository: posix,
    normalised, "" for the root. `components` is empty for "all". `upgrade` resolves requirements anew,
    `force` also builds anew what is kept.
    """

    action: Action
    function: str | None = None
    source: GitSource | None = None
    path: str = ""
    build_file: str | None = None
    components: tuple[str, ...] = ()
    version: bool = False
    alias: str | None = None
    build_id: str | None = None
    force: bool = False
    upgrade: bool = False


def parse_event(event: Mapping[str, object]) -> Request:
    """The request that `event` describes. A field that is null counts as left out.

    Raises:
        InvalidEvent: with every problem found, each as `field: what is wrong`.
    """
    if not isinstance(event, Mapping):
        raise InvalidEvent(
            f"the event must be a JSON object, not {_kind(event)}",
            hint='send for example {"action": "ping"}',
            problems=(f"the event must be a JSON object, not {_kind(event)}",),
        )
    return _Reader(event).request()


def ref_problem(ref: str) -> str | None:
    """What is wrong with `ref` as the name of a branch, tag or commit (git's own rules); None if nothing is."""
    if len(ref) > _MAX_REF:
        return f"is longer than {_MAX_REF} characters"
    if re.search(r"[\x00-\x20\x7f~^:?*\[\\]", ref):
        return f"{_shown(ref)} contains a character that git allows in no name (blank, ~ ^ : ? * [ \\)"
    if (
        ref.startswith(("-", "/", "."))
        or ref.endswith(("/", ".", ".lock"))
        or ".." in ref
        or "//" in ref
        or "@{" in ref
        or "/." in ref
        or ".lock/" in ref
    ):
        return f"{_shown(ref)} is not a name that git allows"
    return None


class _Reader:
    """Takes fields out of one event and gathers what is wrong with them."""

    def __init__(self, event: Mapping[str, object]) -> None:
        self.event = {key: value for key, value in event.items() if value is not None}
        self.problems: list[str] = []
        # The other older shape, {"name", "architecture", "archive"}: one clear refusal is enough for it.
        self.archive_shape = "archive" in self.event and "action" not in self.event

    def request(self) -> Request:
        action, words = self._action()
        if not self.archive_shape:
            self._unknown(action)
        wanted = AVAILABLE[action] if action else () if self.archive_shape else _FIELDS
        request = Request(
            action=action or Action.PING,
            function=self._function(required=action in (Action.BUILD, Action.PLAN)) if "function" in wanted else None,
            source=self._source(required=action in (Action.BUILD, Action.PLAN)) if "repo" in wanted else None,
            path=self._path() if "path" in wanted else "",
            build_file=self._build_file() if "build_file" in wanted else None,
            components=self._components(words) if "components" in wanted else (),
            version=self._flag("version") if "version" in wanted else False,
            alias=self._alias() if "alias" in wanted else None,
            build_id=self._matching("build_id", _BUILD_ID, "1 to 128 of A-Z a-z 0-9 . _ -"),
            force=self._flag("force") if "force" in wanted else False,
            upgrade=self._flag("upgrade") if "upgrade" in wanted else False,
        )
        if self.problems:
            raise _invalid(self.problems)
        return request

    def _action(self) -> tuple[Action | None, tuple[str, ...]]:
        """The action, and the components named behind it in the older shape."""
        known = ", ".join(sorted(AVAILABLE))
        if "action" not in self.event:
            if self.archive_shape:
                self.problems.append("archive: building an archive is not available in this version; send a repo")
            else:
                self.problems.append(f"action: missing; it is one of {known}")
            return None, ()
        typed = self.event["action"]
        words = typed.split() if isinstance(typed, str) else []
        if not words:
            self.problems.append(f"action: must be one of {known}, not {_shown(typed)}")
            return None, ()
        name = words[0].lower()
        if name not in set(Action) or (len(words) > 1 and name != Action.BUILD):
            self.problems.append(f"action: {_shown(typed)} is unknown{_nearest(name, AVAILABLE)}; it is one of {known}")
            return None, ()
        action = Action(name)
        if action not in AVAILABLE:
            self.problems.append(f"action: {name!r} is not available in this version; it is one of {known}")
            return None, ()
        return action, tuple(words[1:])

    def _unknown(self, action: Action | None) -> None:
        for key in self.event:
            if key in _LATER:
                self.problems.append(f"{key}: is not available in this version; leave it out")
            elif key not in _FIELDS:
                self.problems.append(f"{_bare(key)}: unknown field{_nearest(str(key), _FIELDS)}")
            elif action and key != "action" and key not in AVAILABLE[action]:
                self.problems.append(f"{key}: means nothing to the action {action.value!r}; leave it out")

    def _text(self, field: str) -> str | None:
        """The text of a field, None where it is absent or (then a problem) no text."""
        value = self.event.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            self.problems.append(f"{field}: must be a string, not {_kind(value)} ({_shown(value)})")
            return None
        if not value.strip() and field != "path":
            self.problems.append(f"{field}: is empty; leave it out")
            return None
        return value

    def _matching(self, field: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        value = self._text(field)
        if value is not None and not pattern.fullmatch(value):
            self.problems.append(f"{field}: {_shown(value)} is not allowed; use {allowed}")
            return None
        return value

    def _flag(self, field: str) -> bool:
        value = self.event.get(field, False)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        self.problems.append(f"{field}: must be true or false, not {_shown(value)}")
        return False

    def _function(self, *, required: bool) -> str | None:
        if required and "function" not in self.event:
            self.problems.append("function: missing; name the Lambda function to build")
        value = self._text("function")
        if value is None or _FUNCTION.fullmatch(value):
            return value
        if arn := _FUNCTION_ARN.fullmatch(value):
            # The builder deploys with its own client: another account's or region's ARN would quietly become a
            # function of the same name here.
            self.problems.append(
                f"function: {_shown(value)} is an ARN; write the name alone, {arn['name']} "
                "(the builder deploys into its own account and region; for a version use alias)"
            )
        else:
            self.problems.append(f"function: {_shown(value)} is not allowed; use 1 to 64 of A-Z a-z 0-9 _ -")
        return None

    def _source(self, *, required: bool) -> GitSource | None:
        repo, repo_name = self._text("repo"), self._text("repo_name")
        if required and not {"repo", "repo_name"} & set(self.event):
            self.problems.append("repo: missing; give repo (a URL, or owner/name) or repo_name")
        if repo is not None and repo_name is not None:
            self.problems.append("repo: given together with repo_name; give one of them")
        if repo is not None and (problem := repo_problem(repo)):
            self.problems.append(f"repo: {problem}")
        if repo_name is not None and not _is_name(repo_name):
            self.problems.append(
                f"repo_name: {_shown(repo_name)} is not allowed; use A-Z a-z 0-9 . _ - (owner/name goes into repo)"
                if "://" not in repo_name and "@" not in repo_name
                else "repo_name: is a URL; that goes into repo"
            )
        return GitSource(repo=repo, repo_name=repo_name, ref=self._ref())

    def _ref(self) -> str | None:
        given: list[str] = []
        for field in ("ref", "branch"):
            value = self._text(field)
            if value is None:
                continue
            if problem := ref_problem(value):
                self.problems.append(f"{field}: {problem}")
            given.append(value)
        if len(set(given)) > 1:
            self.problems.append(f"branch: {_shown(given[1])} contradicts ref {_shown(given[0])}; give one of them")
        return given[0] if given else None

    def _path(self) -> str:
        value = self._text("path") or ""
        if problem := path_problem(value):
            self.problems.append(f"path: {problem}")
            return ""
        return normalised(value)

    def _build_file(self) -> str | None:
        value = self._text("build_file")
        if value is not None and not _BUILD_FILE.fullmatch(value):
            self.problems.append(
                f"build_file: {_shown(value)} must be the name of a .yaml, .yml or .json file in the project's "
                "directory (path says which directory)"
            )
            return None
        return value

    def _components(self, words: tuple[str, ...]) -> tuple[str, ...]:
        given = self.event.get("components", [])
        names = given.split() if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            self.problems.append(f"components: must be a list of names, not {_shown(given)}")
            return ()
        if words and names and list(words) != list(names):
            self.problems.append("components: contradicts the components named in action; give them once")
        names = list(dict.fromkeys(names or words))
        for name in names:
            if not _COMPONENT.fullmatch(name):
                self.problems.append(f"components: {_shown(name)} is not allowed; use 1 to 64 of A-Z a-z 0-9 _ -")
        if len(names) > _MAX_COMPONENTS:
            self.problems.append(f"components: {len(names)} names; at most {_MAX_COMPONENTS}")
        return tuple(names)

    def _alias(self) -> str | None:
        value = self._matching("alias", _ALIAS, "1 to 128 of A-Z a-z 0-9 _ -")
        if value is not None and value.isdigit():
            self.problems.append(f"alias: {_shown(value)} is only digits, which Lambda keeps for version numbers")
            return None
        return value


def repo_problem(repo: str) -> str | None:
    """What is wrong with `repo` as a URL or `owner/name`; None if nothing is. Shows no credentials."""
    if "://" in repo or ":" in repo or "@" in repo:
        return url_problem(repo)
    segments = repo.split("/")
    if len(segments) < 2 or not all(_is_name(segment) for segment in segments):
        return f"{_shown(repo)} is neither an https URL nor owner/name (a name alone goes into repo_name)"
    return None


def _is_name(text: str) -> bool:
    return bool(_REPO_NAME.fullmatch(text)) and text not in (".", "..") and text.lower() != ".git"


def _invalid(problems: list[str]) -> InvalidEvent:
    if len(problems) == 1:
        message = f"the request is not valid: {problems[0]}"
    else:
        message = f"the request has {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
    return InvalidEvent(message, hint="mend the event and send it again", problems=problems)


def _nearest(typed: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(typed[:80], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    """`value` as typed, for a message: one line, not long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _bare(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[\w.-]{1,60}", text) else _shown(text)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list | tuple):
        return "a list"
    return "a number" if isinstance(value, int | float) else "null"

"""Turns npm's messages about a failed installation into our errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.amounts import some
from builder.errors import (
    AuthenticationFailed,
    CommandFailed,
    LambdasmithError,
    NoWheelForTarget,
    RequirementNotFound,
    ResolutionFailed,
    SourceUnreachable,
)
from builder.network import untrusted
from builder.npm.lockfile import Lock

_PREFIX = re.compile(r"^npm (?:error|warn|ERR!) ?")
_CODE = re.compile(r"^npm (?:error|ERR!) code (\S+)", re.MULTILINE)
_STEP = re.compile(r"(?:Missing: |Invalid: )[^\n]*")
_URL = re.compile(r"https?://[^\s,]+")
_WANTED = re.compile(r"wanted (\S+)")
_SCRIPT = re.compile(r"npm (?:error|ERR!) path (?:.*/)?node_modules/(\S+)")
_NETWORK = re.compile(
    r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT|EIDLETIMEOUT"
    r"|E50\d|E429"
)
# npm ends with a page on how it is called, and where its log is.
_NOT_WORTH = re.compile(
    r"A complete log of this run|For a full report see|eresolve-report|npm help|^$|Unknown \w+ config"
)
_LOGIN = "a private registry needs a login in the builder (docs/secrets.md); those in .npmrc are not used"


def explained(error: CommandFailed, label: str, lock: Lock) -> LambdasmithError:
    """Return the error for npm's failure; `log_tail` keeps its words."""
    words = words_of(error.log_tail)
    text = "\n".join(error.log_tail)
    found = _CODE.search(text)
    code = found[1] if found else ""
    url = next(iter(_URL.findall(text)), "")
    if refused := untrusted.explained(text, url):
        refused.log_tail = tuple(words[-40:])
        return refused
    kind, message, hint = _reading(code, "\n".join(words), url, lock)
    if kind is CommandFailed and (script := _SCRIPT.search(text)):
        message = f"the install script of {script[1].rstrip('/')} fails: {_last(words)}"
        hint = "its output is above; there is no compiler in the builder: look for a package with prebuilt files"
    return kind(f"{label}: {message or _first(words, error)}", hint=hint, log_tail=words[-40:])


def _reading(code: str, words: str, url: str, lock: Lock) -> tuple[type[LambdasmithError], str, str]:
    """Return class, message ("" for npm's own first line) and hint."""
    name = lock.file.name
    # Before the codes: EUSAGE also stands for wrong options, and these lines say which packages differ.
    if steps := _STEP.findall(words):
        return ResolutionFailed, f"{name} is out of step with package.json: {some(steps, 5, '; ')}", _again(lock)
    if code == "EUSAGE":
        return ResolutionFailed, f"npm ci does not accept {name}", _again(lock)
    if code == "EINTEGRITY":
        wanted = _WANTED.search(words)
        package = lock.by_integrity(wanted[1]) if wanted else ""
        return (
            ResolutionFailed,
            f"{package or 'a package'} is not what {name} says: {_line(words)}",
            "find out why before you change the lock: the package was replaced or tampered with, there or on the way",
        )
    if code in ("E401", "E403", "ENEEDAUTH"):
        return AuthenticationFailed, f"the registry requires a login ({code[1:]}) for {url}", _LOGIN
    if code in ("E404", "ETARGET"):
        return RequirementNotFound, "", f"check the name and the version in {name}; {_LOGIN}"
    if code == "ERESOLVE":
        return (
            ResolutionFailed,
            "packages want different versions of a peer dependency: "
            + next(
                (line for line in words.splitlines() if line.startswith("Could not resolve")), "npm's output is above"
            ),
            "make `npm ci` work first; if the lock was made with --legacy-peer-deps, commit an .npmrc that says "
            "legacy-peer-deps=true",
        )
    if code == "EBADPLATFORM":
        return NoWheelForTarget, "", "the package does not run on Lambda's Linux; make it an optional dependency"
    # npm runs git for such dependencies, and the builder has none.
    if "spawn git" in words or (code == "ENOENT" and "git" in words):
        return (
            ResolutionFailed,
            f"{name} has a dependency from git, and the builder has no git for npm",
            "depend on a published version, on an archive (https://…/name.tgz), or vendor it (file:…)",
        )
    if _NETWORK.search(code) or (not code and _NETWORK.search(words)):
        return SourceUnreachable, f"the registry cannot be reached: {url or _line(words)} ({code})", "try again"
    return CommandFailed, "", "npm's output is above"


def _again(lock: Lock) -> str:
    where = f" in {lock.workspace}'s workspace root" if lock.workspace else ""
    return f"run `npm install`{where} and commit {lock.file.name}"


def words_of(lines: Sequence[str]) -> list[str]:
    """Return npm's own words, without those that only help at a terminal."""
    words = []
    for line in lines:
        plain = _PREFIX.sub("", line).rstrip()
        if plain == "Clean install a project":
            break
        if not _NOT_WORTH.search(plain) and not plain.startswith("code "):
            words.append(plain)
    return words


def _line(words: str) -> str:
    return words.partition("\n")[0]


def _last(words: Sequence[str]) -> str:
    telling = next((line for line in reversed(words) if re.search(r"error|fail", line, re.IGNORECASE)), "")
    return telling or (words[-1] if words else "npm does not say why")


def _first(words: Sequence[str], error: CommandFailed) -> str:
    return next(iter(words), error.message)

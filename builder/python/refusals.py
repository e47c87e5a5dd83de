"""Explanations of uv's errors in terms of the project's own lines and the index's files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from builder.errors import (
    AuthenticationFailed,
    CommandFailed,
    NoWheelForTarget,
    RequirementNotFound,
    ResolutionFailed,
    SourceError,
    SourceUnreachable,
    UntrustedCertificate,
)
from builder.network.untrusted import explained
from builder.network.urls import is_http, is_url, without_secrets
from builder.python.inputs import Inputs
from builder.python.requirements import Requirement, normalised_name
from builder.python.resolver import Resolver, indexes, is_own
from builder.runtimes import Target
from builder.secrets.indexes import login_refused

if TYPE_CHECKING:
    from builder.python.gateway import Gateway
    from builder.python.offered import Offer

_NO_WHEELS = re.compile(
    r"Wheels are required for `(?P<wanted>[^`]+)`|Building source distributions for `(?P<disabled>[^`]+)` is disabled"
    r"|Because (?:all versions of )?(?P<cause>[A-Za-z0-9._-]+)(?:[=<>!~][^\s]*)? ha(?:s|ve) no (?:usable )?wheels"
)
_CAUSE = re.compile(
    r"Because (?:only )?(?:all versions of |there (?:is no version|are no versions) of )?(?P<name>[A-Za-z0-9._-]+)"
    r"(?P<version>(?:[=<>!~]=?[^\s,]+)(?:,[=<>!~]=?[^\s,]+)*)?"
)
_UNREACHABLE = ("Failed to fetch", "error sending request", "client error (Connect)", "Request failed after")
# The index responds, but not with a page.
_NO_PAGE = ("Received some unexpected", "Unsupported `Content-Type`", "Missing `Content-Type`")
# A page lists a file that cannot be fetched.
_NO_ADDRESS = re.compile(r"(?:Failed to fetch: `?|Could not parse absolute URL `)(?P<url>[\w+.-]+:[^\s`]+)")
_URL = re.compile(r"https?://[^\s`'\"()<>]+")
_NO_LOGIN = ("lack of valid authentication credentials", "401 Unauthorized", "403 Forbidden")
_ABSENT = ("not found in the package registry", "there is no version of", "there are no versions of")


def without_wheels(error: CommandFailed) -> str | None:
    """Return the distribution without wheels at which uv stopped, if that was the reason."""
    match = _NO_WHEELS.search(" ".join(error.log_tail))
    return normalised_name(next(value for value in match.groups() if value)) if match else None


def is_of_the_network(error: CommandFailed) -> bool:
    """Return whether the index did not respond, or refused us."""
    text = " ".join(error.log_tail)
    return any(word in text for word in (*_UNREACHABLE, *_NO_PAGE, *_NO_LOGIN))


def of_login(indexes: Gateway, inputs: Inputs) -> None:
    """Raise an error if an index has refused its configured login, or its certificate is not trusted."""
    for untrusted in indexes.untrusted:
        raise untrusted
    for refusal in indexes.refused:
        raise login_refused(", ".join(inputs.names), refusal.url, refusal.status, indexes.indexes)


@dataclass(frozen=True)
class Failure:
    """Failed resolution, explained in terms of the project's own lines and the index's files."""

    error: CommandFailed
    inputs: Inputs
    target: Target
    by: Resolver

    def explained(self) -> ResolutionFailed | SourceError:
        """Return the error to raise instead of uv's own."""
        text = " ".join(self.error.log_tail)
        if refused := explained(text):
            refused.log_tail = self._tail()
            return refused
        absent = any(word in text for word in _ABSENT)
        if any(word in text for word in _NO_LOGIN):
            return AuthenticationFailed(
                f"{self._named('')}: the package index requires a login, and the builder has none for it",
                hint="the operator adds [index NAME] with url, username and password to config.ini: docs/secrets.md",
                log_tail=self._tail(),
            )
        if (named := _NO_ADDRESS.search(text)) and not is_http(named["url"]):
            return SourceUnreachable(
                f"{self._named('')}: the package index names {without_secrets(named['url'])}, which cannot be fetched: "
                "only https:// and http:// are supported",
                hint="the index's operator has to correct its page; use another index until then",
                log_tail=self._tail(),
            )
        if any(word in text for word in (*_UNREACHABLE, *_NO_PAGE)) and not absent:
            return self._in_trouble(text)
        lacking = _NO_WHEELS.search(text)
        match = _CAUSE.search(text)
        name = next((value for value in lacking.groups() if value), "") if lacking else match["name"] if match else ""
        requirement = self._requirement(name)
        specifier = (match["version"] if match and match["name"] == name else None) or (
            requirement.specifier if requirement else ""
        )
        subject, where = f"{name}{specifier}", self._named(name)
        offer, trouble = self._offer(name) if lacking or absent else (None, None)
        # An index in trouble may come before the one with the file, and must not be skipped.
        if trouble and absent:
            return self._unreachable(where, trouble)
        offered = f"; {offer.explained(specifier, self.target)}" if offer else ""
        if lacking:
            return NoWheelForTarget(
                f"{where}: {subject} has no wheel for {self.target.runtime.name} on {self.target.architecture} "
                f"(glibc {'.'.join(map(str, self.target.runtime.glibc))})" + offered,
                hint=self._way_out(name, offer),
                log_tail=self._tail(),
            )
        if absent:
            return self._not_found(f"{where}: {subject}", offered)
        return ResolutionFailed(f"{where}: the requirements cannot be resolved", log_tail=self._tail())

    def _not_found(self, what: str, offered: str) -> RequirementNotFound:
        asked = ", ".join(map(without_secrets, indexes(self.inputs, self.by)))
        # An address that is not an index's answers 404 for everything, like an index for what it does not know.
        unknown, address = (f" {asked}", ", and the address of the index") if asked and not offered else ("", "")
        return RequirementNotFound(
            f"{what} does not exist in the package index{unknown}{offered}",
            hint=f"check the spelling and the version{address}",
            log_tail=self._tail(),
        )

    def _way_out(self, name: str, offer: Offer | None) -> str:
        if offer and not offer.sdists and not offer.fitting(self.target):
            return (
                "it is published neither for Lambda nor as source; if the project needs it only on other systems, say "
                f"so: `{name}; sys_platform == 'win32'`, for example"
            )
        if is_own(self.target):
            return f"choose a version that offers one, or add the line `--no-binary {name}` to build it from source"
        return (
            "choose a version that offers one, another runtime or architecture; or a builder of that runtime and "
            "architecture, which can build it from source"
        )

    def _tail(self) -> tuple[str, ...]:
        return tuple(without_secrets(line) if "://" in line and "@" in line else line for line in self.error.log_tail)

    def _requirement(self, name: str) -> Requirement | None:
        wanted = normalised_name(name)
        return next((one for one in self.inputs.requirements if one.name == wanted), None)

    def _named(self, name: str) -> str:
        """Return the line that asks for `name`, else the files."""
        requirement = self._requirement(name) if name else None
        return requirement.origin if requirement else ", ".join(self.inputs.names)

    def _offer(self, name: str) -> tuple[Offer | None, SourceUnreachable | None]:
        from builder.python.offered import examined

        if not name:
            return None, None
        return examined(normalised_name(name), indexes(self.inputs, self.by), self.by.indexes)

    def _in_trouble(self, text: str) -> SourceUnreachable:
        """Return the error for an index that failed for uv. uv does not report every detail, so ask the index again."""
        from builder.python.offered import trouble_at

        found = _URL.search(text)
        url = found[0].rstrip(".,:;") if found else ""
        project = urlsplit(url if is_url(url) else "").path.rstrip("/").rpartition("/")[2]
        where = self._named(project.partition("-")[0])
        if trouble := trouble_at(url, self.by.indexes) if url else None:
            return self._unreachable(where, trouble)
        reason = next((line.strip().removeprefix("cause: ") for line in reversed(self._tail()) if line.strip()), "")
        return SourceUnreachable(
            f"{where}: the package index is in trouble: {without_secrets(url)}: {_URL.sub('it', reason)}",
            hint="try again; if this persists, check index_url in the builder's configuration, and the function's "
            "network",
            log_tail=self._tail(),
        )

    def _unreachable(self, where: str, trouble: SourceUnreachable) -> SourceUnreachable:
        if isinstance(trouble, UntrustedCertificate):
            trouble.log_tail = self._tail()
            return trouble
        return SourceUnreachable(
            f"{where}: the package index is in trouble: {trouble.message}", hint=trouble.hint, log_tail=self._tail()
        )

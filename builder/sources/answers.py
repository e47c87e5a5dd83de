"""Translates a git server's answers and silences for the user. No network, no dulwich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from builder.errors import AuthenticationFailed, RepositoryNotFound, SourceUnreachable
from builder.network import wire
from builder.network.access import GitCredentials
from builder.network.patience import Passing
from builder.network.untrusted import explained
from builder.network.urls import host_of, origin, without_secrets


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request and its answer: `url` is the repository's, `answered` the URL that answered.

    Args:
        login: the credentials that were sent.
        known: all credentials that the builder has.
    """

    url: str
    answered: str
    login: GitCredentials | None
    known: Sequence[GitCredentials]

    @property
    def where(self) -> str:
        """The repository, in words."""
        if origin(self.answered) == origin(self.url):
            return self.url
        return f"{self.url} (redirected to {without_secrets(self.answered)})"

    @property
    def advice(self) -> str:
        """Advice for a server that says the repository is not there."""
        if self.login:
            return f"check owner and name; if it is private, {self.login.called} must be allowed to read it"
        if not self.known:
            return "check owner and name; if it is private, the builder needs a git token (git_token in config.ini)"
        host = host_of(self.answered)
        near = [each for each in self.known if each.base and host_of(each.base) == host]
        scheme = urlsplit(self.answered).scheme
        if others := [each for each in near if urlsplit(each.base or "").scheme != scheme]:
            return (
                f"if it is private: {_all_called(others)} is for {others[0].base} and was not sent to {scheme}://; a "
                f"section [git {scheme}://{host}] in config.ini is for this one"
            )
        if near:
            return f"if it is private: {_all_called(near)} belongs to another path of {host} and was not sent there"
        return f"if it is private: {_all_called(self.known)} belongs to another server and was not sent there"


def _all_called(credentials: Sequence[GitCredentials]) -> str:
    return " and ".join(each.called for each in credentials)


def busy(where: str, status: int, headers: Mapping[str, str]) -> Passing | None:
    """Return the error for a server that has trouble of its own, or asks to come back later; None if it has none.

    GitHub's secondary limits are 403 with Retry-After.
    """
    said = headers.get("Retry-After", "")
    if not (status == 429 or status >= 500 or (status == 403 and said)):
        return None
    hint = f"the server asks to wait: Retry-After is {said[:40]!r}" if said else "try again later"
    trouble = Passing(f"{where}: the server answers {status}", hint=hint)
    trouble.pause_s = wire.retry_after_s(headers)
    return trouble


def check_answer(asked: Asked, status: int, headers: Mapping[str, str]) -> None:
    """Raise the error for an HTTP answer that means that nothing can be fetched.

    Raises:
        AuthenticationFailed, RepositoryNotFound, SourceUnreachable
    """
    where, login = asked.where, asked.login
    if trouble := busy(where, status, headers):
        raise trouble
    if status in (401, 403) and login:
        raise AuthenticationFailed(
            f"{where}: the server refuses {login.called} ({status})",
            hint=f"the token is wrong, expired or may not read this repository: {login.renewal}",
        )
    # Without a login, forges answer 401 or 404 for a private repository, so as not to say that it exists.
    if status in (401, 403, 404, 410):
        raise RepositoryNotFound(f"{where}: no such repository ({status})", hint=asked.advice)
    if status == 407:
        raise SourceUnreachable(f"{where}: the proxy requires credentials (407)")
    if status != 200:
        raise SourceUnreachable(
            f"{where}: the server answers {status}",
            hint="is this the address that git clone takes? if so, the server's operator can say what that means",
        )
    content_type = headers.get("Content-Type", "")
    # A login page or a proxy's message also comes with 200.
    if not content_type.startswith("application/x-git-"):
        raise RepositoryNotFound(
            f"{where}: answers with {content_type or 'no Content-Type'}, not with a git repository",
            hint="is this the address of a web page? give the one that git clone takes",
        )


def unreachable(where: str, error: BaseException, url: str = "") -> SourceUnreachable:
    """Return the error for a server that cannot be reached, or broke off; Passing if the next try may go better.

    Args:
        url: what was asked, unless that is `where`.
    """
    trouble = wire.trouble(error)
    if trouble.kind == "tls" and (refused := explained(f"{error} {trouble.words}", url or where)):
        return refused
    said = trouble.words if trouble.began else f"the server cannot be reached: {trouble.words}"
    if trouble.kind == "name":
        hint = "check the host's name"
    elif trouble.began:
        hint = "try again later"
    else:
        hint = "try again; a function in a VPC needs a way to the internet (a NAT gateway)"
    kind = Passing if trouble.may_pass else SourceUnreachable
    return kind(f"{where}: {said}", hint=hint)

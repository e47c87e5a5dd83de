"""What a git server's answers and silences mean for the user. No network, no dulwich."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from builder.errors import AuthenticationFailed, RepositoryNotFound, SourceUnreachable
from builder.sources.urls import origin, without_secrets
from builder.untrusted import explained

Access = Literal["sent", "withheld", "none"]
"""Of the token: `withheld` means that the builder has one, but it belongs to another origin."""


def check_answer(url: str, answered: str, status: int, headers: Mapping[str, str], access: Access) -> None:
    """Raise what an HTTP answer means, where it means that nothing can be fetched; `answered` is who gave it.

    Raises:
        AuthenticationFailed, RepositoryNotFound, SourceUnreachable
    """
    where = url if origin(answered) == origin(url) else f"{url} (redirected to {without_secrets(answered)})"
    pause = headers.get("Retry-After", "")
    if status == 429 or status >= 500 or (status == 403 and pause):
        hint = f"the server asks to wait: Retry-After is {pause[:40]!r}" if pause else "try again later"
        raise SourceUnreachable(f"{where}: the server answers {status}", hint=hint)
    if status in (401, 403) and access == "sent":
        raise AuthenticationFailed(
            f"{where}: the server refuses the builder's git token ({status})",
            hint="the token is wrong, expired or may not read this repository: renew git_token, run setup.py update",
        )
    if status in (401, 403, 404, 410):
        if access == "withheld":
            hint = "if it is private: the builder's git token belongs to another server and was not sent there"
        elif access == "sent":
            hint = "check owner and name; if it is private, the builder's git token must be allowed to read it"
        else:
            hint = "check owner and name; if it is private, the builder needs a git token (git_token in config.ini)"
        raise RepositoryNotFound(f"{where}: no such repository ({status})", hint=hint)
    if status == 407:
        raise SourceUnreachable(f"{where}: the proxy wants credentials (407)")
    content_type = headers.get("Content-Type", "")
    if status == 200 and not content_type.startswith("application/x-git-"):
        raise RepositoryNotFound(
            f"{where}: answers with {content_type or 'something'}, not with a git repository",
            hint="is this the address of a web page? give the one that git clone takes",
        )


def unreachable(url: str, text: str) -> SourceUnreachable:
    """The error for a server that cannot be reached; `text` is what the connection says, without secrets."""
    if refused := explained(text, url if "://" in url else f"https://{url}"):
        return refused
    if "NameResolutionError" in text or "resolve" in text:
        hint = "check the host's name"
    else:
        hint = "try again; a function in a VPC needs a way to the internet (a NAT gateway)"
    return SourceUnreachable(f"{url}: the server cannot be reached, or broke off: {text}", hint=hint)

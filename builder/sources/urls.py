"""Repository URLs: which ones are acceptable, and how to show one that is not."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_SCP_LIKE = re.compile(r"^(?:[^@/\s]+@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/\s@][^\s@]*)$")
_OTHER_SCHEME = re.compile(
    r"^(?:ssh|git|git\+ssh|git\+https)://(?:[^@/\s]+@)?(?P<host>[^/:\s]+)(?::\d+)?/(?P<path>\S+)$"
)
_USERINFO = re.compile(r"(^|//).*@", re.DOTALL)


def without_secrets(url: str) -> str:
    """`url` fit for a message: where a user, password or token could stand (before `@`, after `?`) it says `***`."""
    before, question, _ = _USERINFO.sub(r"\1***@", url).partition("?")
    return f"{before}?***" if question else before


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_problem(url: str) -> str | None:
    """What is wrong with `url` as the address of a git repository, with what to write instead; None if nothing is.

    The answer never contains credentials that the URL may carry.
    """
    shown = without_secrets(url)
    if any(ord(character) <= 32 or ord(character) == 127 for character in url) or "\\" in url:
        return f"{shown!r} contains blanks, backslashes or control characters"
    if (other := _OTHER_SCHEME.match(url)) or ("://" not in url and (other := _SCP_LIKE.match(url))):
        instead = without_secrets(f"https://{other['host']}/{other['path']}")
        return f"{shown!r} cannot be fetched: only https is spoken here; write {instead}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{shown!r} is not a URL"
    if parts.scheme not in ("https", "http") or not host:
        return f"{shown!r} is not an https URL"
    if "@" in parts.netloc:
        return (
            f"{shown!r} contains credentials; take them out of the URL: the builder has its own "
            "(git_token in config.ini, kept in Secrets Manager)"
        )
    if parts.scheme == "http" and not is_loopback(host):
        return f"{shown!r} is not encrypted; write https:// (http:// is for loopback hosts only)"
    if port == 0 or parts.query or parts.fragment or not parts.path.strip("/"):
        return f"{shown!r} is not the URL of a repository; write for example https://github.com/OWNER/NAME"
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        return f"{shown!r} has . or .. in its path"
    return None

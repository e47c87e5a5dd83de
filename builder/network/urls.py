"""Repository URLs: which ones are acceptable, and how to show one that is not."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from builder.errors import InvalidEvent

_SCP_LIKE = re.compile(r"^(?:[^@/\s]+@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/\s@][^\s@]*)$")
_OTHER_SCHEME = re.compile(
    r"^(?:ssh|git|git\+ssh|git\+https)://(?:[^@/\s]+@)?(?P<host>[^/:\s]+)(?::\d+)?/(?P<path>\S+)$"
)
_PORTS = {"http": 80, "https": 443}
_USERINFO = re.compile(r"(^|//).*@", re.DOTALL)


def without_secrets(url: str) -> str:
    """Return `url` fit for a message: `***` where a user, password or token could be (before `@`, after `?`)."""
    before, question, _ = _USERINFO.sub(r"\1***@", url).partition("?")
    return f"{before}?***" if question else before


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, which credentials belong to."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 443)


def is_url(url: str) -> bool:
    """Tell whether `url` can be parsed: `https://[x` cannot, nor can one with port 99999."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


def is_http(url: str) -> bool:
    """Tell whether `url` is of a server that can be asked by http or https."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Return the host of a URL as people write it: lower case, with the port unless it is the scheme's own."""
    scheme, host, port = origin(url)
    host = f"[{host}]" if ":" in host else host
    return host if port == _PORTS.get(scheme) else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether `host` can only be this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def https_spelling(url: str) -> str:
    """Return the https URL of what `url` names by ssh or git's own protocol; any other `url` unchanged.

    https_spelling("git@github.com:o/n.git")    https://github.com/o/n.git
    """
    other = _OTHER_SCHEME.match(url) or (_SCP_LIKE.match(url) if "://" not in url else None)
    return f"https://{other['host']}/{other['path']}" if other else url


def url_problem(url: str) -> str | None:
    """Say what is wrong with `url` as the address of a git repository, and what to write; None if nothing is.

    The answer never contains credentials that the URL may carry.
    """
    shown = without_secrets(url)
    if any(ord(character) <= 32 or ord(character) == 127 for character in url) or "\\" in url:
        return f"{shown!r} contains blanks, backslashes or control characters"
    if (instead := https_spelling(url)) != url:
        return f"{shown!r} cannot be fetched: only https is supported; write {without_secrets(instead)}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{shown!r} is not a URL"
    if parts.scheme not in ("https", "http") or not host:
        return f"{shown!r} is not an https URL"
    # A URL is written into logs, records and messages; a token in it would be as well.
    if "@" in parts.netloc:
        return (
            f"{shown!r} contains credentials; take them out of the URL: the builder has its own "
            "(git_token in config.ini, kept in Secrets Manager)"
        )
    if parts.scheme == "http" and not is_loopback(host):
        return f"{shown!r} is not encrypted; write https:// (http:// is for loopback hosts only)"
    if port == 0 or parts.query or parts.fragment or not parts.path.strip("/"):
        return f"{shown!r} is not the URL of a repository; write for example https://github.com/OWNER/NAME"
    # Credentials are chosen by the path, which the server may read differently.
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        return f"{shown!r} has . or .. in its path"
    return None


# Hosts where the path of a base is always an owner's.
_PUBLIC = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})


def repository_urls(repo: str | None, repo_name: str | None, *, base: str, username: str | None) -> tuple[str, ...]:
    """Return the URLs that may be meant by one of `repo` (URL, or `owner/name`) and `repo_name` (below `base`).

    `base` is a URL such as `https://github.com/me`; "" means GitHub. If it names a forge alone, without an owner,
    `username` is the owner. There are several URLs, to be asked in this order, only if the path of `base` may be an
    owner's, or that of a forge which is not at its host's root.

        repository_urls("https://host/a/b", None, …)                               https://host/a/b
        repository_urls("a/b", None, base="https://github.com/me", …)              https://github.com/a/b
        repository_urls("a/b", None, base="https://host/gitea", …)                 https://host/a/b, https://host/gitea/a/b
        repository_urls(None, "b", base="https://github.com", username="me")       https://github.com/me/b

    Raises:
        InvalidEvent: neither is given, or the result is not a URL that may be fetched.
    """
    base = (base or "https://github.com").rstrip("/")
    if repo and ("://" in repo or ":" in repo):
        urls = [reached_as(repo.rstrip("/"), base)]
    elif repo:
        parts = urlsplit(base)
        above = [] if parts.hostname in _PUBLIC else [part for part in parts.path.split("/") if part]
        places = ["/".join(["", *above[:count]]) for count in range(len(above) + 1)]
        urls = [f"{parts.scheme}://{parts.netloc}{place}/{repo.strip('/')}" for place in places]
    elif repo_name:
        parts = urlsplit(base)
        if not parts.path and not is_loopback(parts.hostname or ""):
            if not username:
                raise InvalidEvent(
                    f"repo_name: {repo_name!r} has no owner: neither git_base nor git_username is configured",
                    hint="send repo (owner/name or a URL), or set git_username in config.ini and run setup.py update",
                )
            base = f"{base}/{username}"
        urls = [f"{base}/{repo_name}"]
    else:
        raise InvalidEvent("repo: missing; give repo (a URL, or owner/name) or repo_name")
    if problem := next(filter(None, map(url_problem, urls)), None):
        raise InvalidEvent(f"{'repo' if repo else 'repo_name'}: {problem}")
    return tuple(urls)


def reached_as(url: str, base: str) -> str:
    """Return `url` with the scheme and port of `base`, if both name the same host and `url` no port of its own.

    A remote that is used with ssh says nothing of either, and is read as https.
    """
    if not is_url(url):
        return url
    parts, known = urlsplit(url), urlsplit(base)
    if parts.scheme == "https" and known.hostname and parts.netloc.lower() == known.hostname:
        return parts._replace(scheme=known.scheme, netloc=known.netloc).geturl()
    return url

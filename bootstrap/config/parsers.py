"""Parsers of single values; each raises ValueError with the second half of the message."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bootstrap.config.settings import Isolation
from builder.runtimes import RUNTIMES, Architecture, architecture_of

# The builder's own code needs Python 3.11 or newer.
BUILDER_RUNTIMES = tuple(
    name for name, known in RUNTIMES.items() if known.python is not None and known.python >= (3, 11)
)


_MOST_DAYS = 3650


def parse_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("must not contain credentials")
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError("must be an https:// URL")
    return value.rstrip("/")


def parse_tag(value: str) -> tuple[str, str]:
    name, equals, text = (part.strip() for part in value.partition("="))
    if (
        not equals
        or not re.fullmatch(r"(?!aws:)[\w .:/+@-]{1,128}", name)
        or not re.fullmatch(r"[\w .:/+@-]{1,256}", text)
    ):
        raise ValueError("must be NAME=VALUE")
    return name, text


def parse_status(value: str) -> Literal["all", "function"]:
    if value not in ("all", "function"):
        raise ValueError("must be all or function")
    return "function" if value == "function" else "all"


def parse_switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise ValueError("must be on or off")
    return value == "on"


def parse_days(value: str) -> int:
    if value == "never":
        return 0
    if not re.fullmatch(r"\d{1,9}", value) or not 1 <= int(value) <= _MOST_DAYS:
        raise ValueError(f"must be a whole number of days from 1 to {_MOST_DAYS:,}, or never")
    return int(value)


def parse_go_proxy(value: str) -> str:
    """Return the list without blanks; `direct` and `off` are Go's keywords."""
    parts = [part.strip() for part in re.split(r"([,|])", value)]
    for part in parts[::2]:
        if part not in ("direct", "off"):
            parse_url(part)
    return "".join(parts)


def parse_npm_registry(value: str) -> str:
    """Return the registry and those of scopes, separated by commas."""
    parts = [part for part in re.split(r"[,\s]+", value) if part]
    for part in parts:
        scope, equals, url = part.partition("=") if part.startswith("@") else ("", "", part)
        if bool(scope) != bool(equals) or not re.fullmatch(r"(@[a-z0-9._~-]+)?", scope):
            raise ValueError("must be URLs, or @SCOPE=URL, separated by commas")
        parse_url(url)
    if sum(not part.startswith("@") for part in parts) > 1:
        raise ValueError("must have one URL without a scope")
    return ",".join(parts)


def parse_certificates(value: str) -> str:
    """Return the text of a PEM file; a path below /opt lies in a layer of the function, and stays a path."""
    if value.startswith("/opt/"):
        return value
    try:
        text = Path(value).expanduser().read_text()
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ValueError(f"cannot be read as certificates: {error}") from error
    # Lambda allows 4 KB for all variables of a function together.
    text = "".join(re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", text, re.DOTALL))
    if len(text) > 3000:
        raise ValueError("has more than 3 KB of certificates: put it into a layer and name it /opt/FILE")
    return text


def parse_runtime(value: str) -> str:
    if value not in BUILDER_RUNTIMES:
        raise ValueError(f"cannot run the builder; it runs on {', '.join(BUILDER_RUNTIMES)}")
    return value


def parse_isolation(value: str) -> Isolation:
    if value not in ("shared", "split"):
        raise ValueError("must be shared or split")
    return "split" if value == "split" else "shared"


def parse_architecture(value: str) -> Architecture:
    if value not in ("x86_64", "arm64"):
        raise ValueError("must be x86_64 or arm64")
    return architecture_of(value)

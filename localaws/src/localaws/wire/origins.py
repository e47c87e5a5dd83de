"""Whether a request comes from a program of this machine, or from a web page that somebody looks at.

A page cannot be kept from sending requests to loopback: with a host name that its owner points at 127.0.0.1 (DNS
rebinding) it may even read the answers, and signatures, which are not verified here, can be made by anybody. But it
cannot choose the `Host`, `Origin`, `Sec-Fetch-Site` and `Referer` that its browser sends.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

__all__ = ["is_form", "is_loopback", "why_refused"]

# What an HTML form, or a script without asking first, can send to another site.
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


# Nothing else is a host in any reading of the header, and there is one reading of this.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?")
_PAGE = re.compile(r"https?://([^/?#\\]+)", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, can only be this machine: its loopback addresses, localhost and below."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2]).lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return found[1] is None
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def why_refused(header: Callable[[str], str | None]) -> str | None:
    """Why a request with these headers is not answered; None if it is."""
    host = header("Host")
    if host and not is_loopback(host):
        return f"the host {host!r} is not this machine: use 127.0.0.1, localhost or a name below it"
    origin, referer = header("Origin"), header("Referer")
    if origin is not None:
        return None if _of_this_machine(origin) else f"requests from pages of {origin!r} are not answered"
    if header("Sec-Fetch-Site") == "cross-site":
        return "requests from pages of other sites are not answered"
    if referer and not _of_this_machine(referer):
        return f"requests from {referer!r} are not answered"
    return None


def is_form(content_type: str | None) -> bool:
    """Whether a page of any site could send a body of this type without being asked first."""
    return (content_type or "").partition(";")[0].strip().lower() in _FORMS


def _of_this_machine(url: str) -> bool:
    found = _PAGE.match(url)
    return found is not None and is_loopback(found[1])

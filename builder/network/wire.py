"""Says in words what went wrong on the way to a server and back; libraries say it with their own objects."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["refused", "cut", "silent", "name", "tls", "redirects", "garbled", "other"]

_OBJECTS = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>|\w+(?:Pool|Connection)\([^)]*\)(?:: )?")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One failure. `words` continue a sentence about the server, and quote nothing that was sent to it."""

    kind: Kind
    words: str

    @property
    def may_pass(self) -> bool:
        """Whether the next try may well go better. Silence may not: it has used up its time already."""
        return self.kind in ("refused", "cut", "garbled")

    @property
    def began(self) -> bool:
        """Whether the server has at least begun to answer."""
        return self.kind in ("cut", "garbled", "redirects")


def trouble(error: BaseException) -> Trouble:
    """Describe an error of sockets, urllib3, requests or dulwich; the innermost meaningful one counts."""
    found = list(_causes(error))
    for look in (_encryption, _silence, _name, _cut, _refusal, _redirects, _garbled):
        for each in found:
            if said := look(each):
                return said
    reason = next((each.strerror for each in found if isinstance(each, OSError) and each.strerror), "")
    first = _OBJECTS.sub("", str(error)).strip(" :\n").partition("\n")[0]
    return Trouble(kind="other", words=reason or first or type(error).__name__)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks to wait; None if it is missing or unreadable."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return Retry().parse_retry_after(headers["Retry-After"])
    except (KeyError, InvalidHeader, OverflowError, ValueError):  # ValueError: of more digits than Python converts
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything inside it: libraries wrap errors as causes, reasons and arguments."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [getattr(each, "reason", None), each.__cause__, each.__context__, *each.args]


def _encryption(error: BaseException) -> Trouble | None:
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Trouble(kind="tls", words=str(error.args[-1] if error.args else error))
    return None


def _silence(error: BaseException) -> Trouble | None:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

    if isinstance(error, NewConnectionError):
        return None  # for urllib3 this is a kind of the next; its cause says more
    if isinstance(error, ConnectTimeoutError):
        return Trouble(kind="silent", words="no connection was made in time")
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return Trouble(kind="silent", words="timed out: no data arrived for too long")
    return None


def _name(error: BaseException) -> Trouble | None:
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return Trouble(kind="name", words="the host's name cannot be resolved at the moment")
        return Trouble(kind="name", words="there is no host of that name")
    return None


def _cut(error: BaseException) -> Trouble | None:
    if isinstance(error, http.client.IncompleteRead):
        came = error.partial if isinstance(error.partial, int) else len(error.partial)
        missing = f", {error.expected:,} are missing" if isinstance(error.expected, int) and error.expected > 0 else ""
        return Trouble(kind="cut", words=f"the answer broke off after {came:,} bytes{missing}")
    if type(error).__name__ == "HangupException":  # dulwich's, by name: only gitlib imports dulwich
        return Trouble(kind="cut", words="the answer broke off")
    if isinstance(error, http.client.RemoteDisconnected):
        return Trouble(kind="cut", words="the connection was closed without an answer")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError | BrokenPipeError):
        return Trouble(kind="cut", words="the connection was cut")
    if isinstance(error, http.client.BadStatusLine | http.client.LineTooLong):
        return Trouble(kind="other", words="the answer is not HTTP")
    return None


def _refusal(error: BaseException) -> Trouble | None:
    if isinstance(error, ConnectionRefusedError):
        return Trouble(kind="refused", words="the connection is refused")
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Trouble(kind="other", words="there is no route to that host")
    return None


def _redirects(error: BaseException) -> Trouble | None:
    said = str(error).lower()
    if "redirect" in said and any(words in said for words in ("too many", "exceeded", "infinite loop")):
        return Trouble(kind="redirects", words="too many redirects")
    return None


def _garbled(error: BaseException) -> Trouble | None:
    from urllib3.exceptions import DecodeError

    if isinstance(error, DecodeError | zlib.error):
        return Trouble(kind="garbled", words="the answer is not compressed in the way it says")
    return None

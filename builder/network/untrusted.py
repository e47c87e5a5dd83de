"""Explains a server's certificate that is not trusted, so that someone can do something about it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import ssl
import urllib.request
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

from builder.errors import UntrustedCertificate
from builder.network.der import SEQUENCE, elements, sequence
from builder.network.urls import is_url

# In the words of Python, uv (rustls), go and Node.js.
_REFUSED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|invalid peer certificate|x509: |SELF_SIGNED_CERT"
    r"|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY_LEAF|CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|ERR_TLS_CERT_ALTNAME"
    r"|SSL validation failed"
)
_TIME = re.compile(r"expired|not yet valid|NotValidYet|CERT_NOT_YET|Expired", re.IGNORECASE)
_NAME = re.compile(
    r"(?:hostname|address) mismatch|doesn't match|NotValidForName|not valid for|IP SANs|is valid for|ALTNAME",
    re.IGNORECASE,
)
_ISSUER = re.compile(
    r"self.signed|local issuer|first certificate|UnknownIssuer|unknown authority|UNABLE_TO", re.IGNORECASE
)
# uv (rustls) accepts none that is self-signed as an authority's, whatever it trusts; other tools do.
_AUTHORITYS = re.compile(r"CaUsedAsEndEntity")
_REASON = re.compile(r"(?:verify failed|peer certificate|x509): ([^()\n]+)")
_URL = re.compile(r"https://[^\s'\"`,;()<>]+")
# urllib3's name for a server, which pip passes on.
_POOL = re.compile(r"host='([^']+)', port=(\d+)")
_NAMED = (
    "name a PEM file with its certificate: for the builder as ca_bundle in config.ini, then run `python setup.py "
    "update`; on a workstation in SSL_CERT_FILE, or add it to the system's"
)
# Only improves a message: the build has failed already and should say so soon.
_TIMEOUT_S = 5.0
# Object identifiers of the parts of a name: https://www.rfc-editor.org/rfc/rfc5280#appendix-A.1
_COMMON_NAME, _ORGANISATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
# A certificate's names are the other side's to choose.
_LONGEST_NAME = 80


def explained(said: object, url: str = "") -> UntrustedCertificate | None:
    """Return the error for an exception or a tool's output; None if it is not about a certificate.

    Args:
        url: the requested URL, if known; else the first address in the text.
    """
    text = str(said)
    if not _REFUSED.search(text):
        return None
    asked = url or _address_in(text)
    address = urlsplit(asked if is_url(asked) else "")
    host = address.netloc.rpartition("@")[2] or "a server"
    if _TIME.search(text):
        return UntrustedCertificate(
            f"{host}: the certificate has expired, or is not valid yet", hint="renew it, or set the clock right"
        )
    if _NAME.search(text):
        return UntrustedCertificate(
            f"{host}: the certificate is that of a server with another name", hint="check the address"
        )
    if _AUTHORITYS.search(text):
        return UntrustedCertificate(
            f"{host}: the server presents the certificate of {_issuer(*_place(address)) or 'an authority'} itself, as "
            "only an authority may use it",
            hint="give the server a certificate that is not an authority's (`openssl req -x509` makes one with "
            f"`-addext basicConstraints=critical,CA:FALSE`); {_NAMED}",
        )
    if not _ISSUER.search(text):
        reason = _REASON.search(text)
        return UntrustedCertificate(
            f"{host}: the certificate is not accepted{f': {reason[1].strip()}' if reason else ''}",
            hint="ask the server's operator to renew it, or that of its authority",
        )
    issuer = _issuer(*_place(address))
    who = f"{issuer}, an authority" if issuer else "an authority"
    return UntrustedCertificate(
        f"{host}: the certificate is issued by {who} that is not known here",
        hint=f"if that is your organisation's, {_NAMED}",
    )


def _address_in(text: str) -> str:
    if found := _URL.search(text):
        return found[0]
    found = _POOL.search(text)
    return f"https://{found[1]}:{found[2]}" if found else ""


def _place(address: SplitResult) -> tuple[str, int]:
    return address.hostname or "", address.port or 443


def _issuer(host: str, port: int) -> str:
    """Return the issuer that a server's certificate names; "" if it cannot be had. Nothing but a greeting is sent."""
    # Unverified, because the certificate is known to be untrusted: only its text is read, and nothing is asked.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, IndexError, AttributeError):
        connection = _connection(host, port, context)
        try:
            connection.connect()
            certificate = connection.sock.getpeercert(binary_form=True)
        finally:
            connection.close()
        return _shown(_issuer_in(certificate or b""))
    return ""


def _connection(host: str, port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    proxy = "" if not host or urllib.request.proxy_bypass(host) else urllib.request.getproxies().get("https", "")
    if not proxy:
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    at = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    made = http.client.HTTPSConnection(at.hostname or "", at.port, timeout=_TIMEOUT_S, context=context)
    login = f"{unquote(at.username or '')}:{unquote(at.password or '')}"
    headers = {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if at.username else {}
    made.set_tunnel(host, port, headers)
    return made


def _issuer_in(certificate: bytes) -> Iterable[str]:
    """Return the issuer's name and organisation: https://www.rfc-editor.org/rfc/rfc5280#section-4.1"""
    fields = list(elements(sequence(certificate)[0][1]))
    names = [content for tag, content in fields if tag == SEQUENCE]  # of version and number, none is a sequence
    parts: dict[bytes, str] = {}
    for _, relative in elements(names[1]):  # after the algorithm
        for _, pair in elements(relative):
            (_, kind), (tag, value) = elements(pair)
            parts[kind] = value.decode("utf-16-be" if tag == 0x1E else "utf-8", "replace")
    return [parts[kind] for kind in (_COMMON_NAME, _ORGANISATION) if kind in parts]


def _shown(names: Iterable[str]) -> str:
    """Return names as the other side writes them, in quotes, without characters that a terminal might obey."""
    plain = ("".join(filter(str.isprintable, name)).strip()[:_LONGEST_NAME] for name in names)
    return " of ".join(f'"{name}"' for name in dict.fromkeys(plain) if name)

"""Gets the token of a GitHub App's installation in exchange for a JWT that is signed with the app's key.

RS256 takes one power of one number here. The library for it, `cryptography`, is 10 MB with code for every platform,
and nothing else in the builder would use it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from builder.errors import AuthenticationFailed, InvalidConfiguration, SourceUnreachable
from builder.jsontext import read_json
from builder.network.access import Network
from builder.network.der import sequence
from builder.network.patience import patiently
from builder.sources.answers import busy, unreachable

if TYPE_CHECKING:
    from builder.secrets.logins import GitLogin

_PEM = re.compile(r"-----BEGIN (?P<kind>RSA )?PRIVATE KEY-----(?P<body>[A-Za-z0-9+/=\s]+)-----END")
# DER of "the hash that follows is a SHA-256": https://www.rfc-editor.org/rfc/rfc8017#section-9.2, note 1
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
# GitHub allows ten minutes: nine, and a minute for clocks that disagree.
_LIFE_S, _SKEW_S = 540, 60


@dataclass(frozen=True, kw_only=True, repr=False)
class _Key:
    """An RSA private key."""

    modulus: int
    public: int
    private: int

    def signature(self, message: bytes) -> bytes:
        """Sign by RSASSA-PKCS1-v1_5 with SHA-256: https://www.rfc-editor.org/rfc/rfc8017#section-8.2.1"""
        size = (self.modulus.bit_length() + 7) // 8
        digest = _SHA256_INFO + hashlib.sha256(message).digest()
        padded = int.from_bytes(b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest, "big")
        return pow(padded, self.private, self.modulus).to_bytes(size, "big")


def installation_token(login: GitLogin, pem: str) -> str:
    """Return a token that reads the contents of the installation's repositories, for an hour.

    Raises:
        InvalidConfiguration: `pem` is not an RSA key.
        AuthenticationFailed: GitHub does not know the app, the installation or the key.
        SourceUnreachable: GitHub does not answer.
    """
    import requests

    parts = urlsplit(login.base)
    # https://docs.github.com/en/enterprise-server/rest/using-the-rest-api: other hosts have their API below a path
    api = "https://api.github.com" if parts.hostname == "github.com" else f"{parts.scheme}://{parts.netloc}/api/v3"
    what = f"the token of GitHub App {login.app_id}, installation {login.installation_id}, at {parts.netloc}"
    headers = {"Authorization": f"Bearer {_jwt(login, pem)}", "Accept": "application/vnd.github+json"}

    def attempt() -> requests.Response:
        try:
            answer = requests.post(
                f"{api}/app/installations/{login.installation_id}/access_tokens",
                # Less than the app may have: the token is for fetching only.
                json={"permissions": {"contents": "read"}},
                headers=headers,
                # The build waits for this token and cannot begin without it.
                timeout=(10, 20),
                # No redirects: the JWT would follow to whatever host is named.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise unreachable(what, error, api) from None
        if trouble := busy(f"{what}: GitHub", answer.status_code, answer.headers):
            raise trouble
        return answer

    answer = patiently(attempt, Network())
    try:
        said = read_json(answer.content) if answer.status_code == 201 else {}
        token = said.get("token") if isinstance(said, dict) else None
    except ValueError:
        raise SourceUnreachable(f"{what}: GitHub's answer is not that of its API", hint="try again later") from None
    if not token:
        raise AuthenticationFailed(
            f"{what}: GitHub refuses it ({answer.status_code})",
            hint="check app_id, installation_id and private_key of [git HOST] in config.ini, and that the app is "
            "installed with permission to read contents",
        )
    return str(token)


def _jwt(login: GitLogin, pem: str) -> str:
    """Return a signed JWT: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app"""
    try:
        key = read_key(pem)
    except (ValueError, IndexError, binascii.Error) as error:
        raise InvalidConfiguration(
            f"{login.private_key} is not the private key of a GitHub App",
            hint="store the .pem file that GitHub gave you, as it is",
        ) from error
    now = int(time.time())
    claims = {"iat": now - _SKEW_S, "exp": now + _LIFE_S, "iss": login.app_id}
    signed = f"{_text({'alg': 'RS256', 'typ': 'JWT'})}.{_text(claims)}"
    return f"{signed}.{_base64(key.signature(signed.encode()))}"


def _text(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_key(pem: str) -> _Key:
    """Read PKCS #1 (what GitHub hands out) or PKCS #8: https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.2

    Raises:
        ValueError, IndexError: it is neither.
    """
    match = _PEM.search(pem)
    if match is None:
        raise ValueError("no private key in PEM")
    fields = sequence(base64.b64decode("".join(match["body"].split()), validate=True))
    if not match["kind"]:  # version, algorithm, and the key as a string of bytes
        fields = sequence(fields[2][1])
    _, modulus, public, private = (int.from_bytes(field, "big") for _, field in fields[:4])
    key = _Key(modulus=modulus, public=public, private=private)
    # Tried on a number: a damaged key would otherwise only show as GitHub's refusal.
    if modulus.bit_length() < 2048 or pow(pow(2, private, modulus), public, modulus) != 2:
        raise ValueError("not an RSA key of 2,048 bits or more")
    return key

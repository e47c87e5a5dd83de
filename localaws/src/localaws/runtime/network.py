"""How this machine reaches the network and its package registries, as variables for functions (`--forward-network`)."""

from __future__ import annotations

import configparser
import contextlib
import json
import logging
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["installers", "settings"]

log = logging.getLogger(__name__)

_CERTIFICATES = (
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE PIP_CERT CURL_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS "
    "AWS_CA_BUNDLE npm_config_cafile NPM_CONFIG_CAFILE CARGO_HTTP_CAINFO"
)
_PROXIES = "HTTP_PROXY http_proxy HTTPS_PROXY https_proxy NO_PROXY no_proxy CARGO_HTTP_PROXY"
_GO = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE")
_REGISTRIES = (
    "PIP_INDEX_URL PIP_EXTRA_INDEX_URL UV_INDEX_URL UV_EXTRA_INDEX_URL UV_DEFAULT_INDEX "
    "npm_config_registry NPM_CONFIG_REGISTRY CARGO_REGISTRY_DEFAULT"
)
_VARIABLES = frozenset((*_CERTIFICATES.split(), *_PROXIES.split(), *_REGISTRIES.split(), *_GO))
_PATTERN = re.compile(r"CARGO_REGISTRIES_\w+_INDEX")
_NPM = ("registry", "cafile", "proxy", "https-proxy", "noproxy")
_TIMEOUT_S = 20
# In files are logins that nobody chose to hand on; in a variable somebody put it there for programs to find.
_LOGIN = re.compile(r"//[^/]*@")
_PROTECTED = "//…@"
"""For what npm leaves out of its list: a URL with a login."""


_HOST_BUNDLES = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"),
    "/etc/ssl/cert.pem",
)


def certificates(environ: Mapping[str, str]) -> Path | None:
    """The file of authorities that this machine trusts: SSL_CERT_FILE, or else the system's."""
    places = (environ.get("SSL_CERT_FILE"), *_HOST_BUNDLES, ssl.get_default_verify_paths().openssl_cafile)
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


def installers(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for uv, pip and npm, which bring lists of authorities of their own: with this machine's instead."""
    named = [environ.get(name, "") for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")]
    named += [value for _, value in _pip(environ)]
    found = next((Path(place) for place in named if place and Path(place).is_file()), certificates(environ))
    if found is None:
        return dict(environ)
    return {**dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"), str(found)), **environ}


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` that are about it, and what go and npm, where they are installed, have in files.

    A tool that is absent or fails adds nothing. A setting that only a file has and that contains a login is left out.
    """
    with ThreadPoolExecutor(3) as pool:
        from_files = {
            name: value
            for found in pool.map(lambda read: dict(read(environ)), (_go, _npm, _pip))
            for name, value in found.items()
        }
    known = {name.upper() for name in environ}
    for name in [name for name, value in from_files.items() if _LOGIN.search(value) and name.upper() not in known]:
        log.warning("%s is not handed to functions: it contains a login", name)
        del from_files[name]
    given = {name: value for name, value in environ.items() if name in _VARIABLES or _PATTERN.fullmatch(name)}
    return {**from_files, **given}


def _go(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    said = _output("go", ["env", "-json", *_GO], environ)
    for name, value in (json.loads(said) if said else {}).items():
        if value:
            yield name, str(value)


def _npm(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    said = _output("npm", ["config", "ls", "--json"], environ)
    for name in _NPM if said else ():
        value = json.loads(said).get(name, _PROTECTED)
        text = ",".join(filter(None, value)) if isinstance(value, list) else str(value or "")
        if text:
            yield f"npm_config_{name.replace('-', '_')}", text


def _pip(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """`cert` of pip's files, the last that has it: https://pip.pypa.io/en/stable/topics/configuration/#location."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:  # by which pip reads none
        return
    home = environ.get("HOME", "")
    own = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    places = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf", f"{home}/.pip/pip.conf", f"{own}/pip/pip.conf"]
    parser = configparser.RawConfigParser()
    for place in (*places, environ.get("PIP_CONFIG_FILE", "")):
        with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(place)
    if found := parser.get("global", "cert", fallback=""):
        yield "PIP_CERT", found


def _output(tool: str, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a tool prints; nothing if it is not there or fails. It runs where no project's own settings are."""
    program = shutil.which(tool, path=environ.get("PATH", ""))
    if program is None:
        return ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run(
                [program, *arguments],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=_TIMEOUT_S,
                check=True,
            ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        log.info("%s did not tell its settings: %s", tool, error)
        return ""

"""The certificates that are trusted: the system's authorities, those that variables name, and those of config.ini.

Every tool reads a variable of its own, and comes with a list of its own if that is not set. `settle`, which each
entry point calls before any request, makes one bundle of all and names it in all these variables: this process and its
children then trust the same, and no client that is added later can be forgotten.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import InvalidConfiguration

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

# Where systems keep their authorities in one file; Amazon Linux first.
_SYSTEM = (
    *("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/ca-bundle.pem"),
    *("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"),
)
# Read by Python and all that use OpenSSL, uv, go; by requests; by boto3 if AWS_CA_BUNDLE is not set; by curl, pip,
# git and cargo.
_ALWAYS = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO"),
)
# Left to its tool unless someone has set it: a profile of ~/.aws/config has a bundle of its own; npm reads the next
# two.
_IF_SET = ("AWS_CA_BUNDLE", "npm_config_cafile", "NPM_CONFIG_CAFILE")
# Node adds these to its own list, which takes 40 ms for a whole system's; it can also do as OpenSSL does.
_NODE, _NODE_OPTIONS = "NODE_EXTRA_CA_CERTS", "--use-openssl-ca"
VARIABLES = (*_ALWAYS, *_IF_SET, _NODE, "SSL_CERT_DIR")
CA_BUNDLE = "LAMBDASMITH_CA_BUNDLE"
# Compiled on first use: this module is imported by every cold start.
_BLOCK = r"(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----"
_IN_MEMORY = "/proc/self/fd/"
# A directory of certificates has some hundred files; a wrong path may have a million.
_MOST_FILES = 1000


def settle(environment: MutableMapping[str, str], *, on_lambda: bool = False) -> None:
    """Make every variable about certificates name one bundle of all that count.

    SSL_CERT_FILE replaces the system's authorities, as everywhere; the others add to them. Missing files are skipped.
    If neither the system nor a variable has any, each tool keeps its own list.

    Args:
        environment: of this process; changed.
        on_lambda: keep a joined bundle where no one can change it, because foreign code may write wherever the builder
            can; and don't read pip's configuration, since there is none.
    """
    base, more = _base(environment), list(_more(environment, () if on_lambda else _of_pip(environment)))
    # Parsing a system's bundle takes time; without additions it is used as it is.
    known = set(_blocks(base)) if more else set()
    new = [block for text in more for block in _blocks(text) if block not in known]
    place = str(base or "")
    if new:
        place = _kept("\n".join([*_blocks(base), *dict.fromkeys(new), ""]), in_memory=on_lambda)
    if place:
        environment.update(dict.fromkeys((*_ALWAYS, *(name for name in _IF_SET if name in environment)), place))


def for_child(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the variables of a child that has `home`, an existing directory, to itself, as `settle` has made them."""
    given = {name: environment[name] for name in VARIABLES if name in environment}
    place = given.get("SSL_CERT_FILE", "")
    if place.startswith(_IN_MEMORY):
        # The bundle in memory is a descriptor of this process, which a child can't open: it gets a copy in its own
        # directory.
        copy = home / "certificates.pem"
        if not copy.exists():
            copy.write_text(Path(place).read_text())
        given = {name: str(copy) if value == place else value for name, value in given.items()}
    if Path(place).is_file():
        given.pop(_NODE, None)  # they are in the bundle
        given["NODE_OPTIONS"] = _NODE_OPTIONS
    return given


def context(ca_bundle: str = "") -> ssl.SSLContext:
    """Return the context for clients of this process; made once, which takes 30 ms.

    Args:
        ca_bundle: path, or PEM text, of more certificates.

    Raises:
        InvalidConfiguration: `ca_bundle` cannot be read.
    """
    # OpenSSL reads these variables by itself, whenever a context is made.
    return _context(ca_bundle, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=8)
def _context(ca_bundle: str, *_: str | None) -> ssl.SSLContext:
    import ssl  # not as this module is imported, which every cold start does

    made = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    # A Python without the system's certificates, as on macOS, trusts no one: certifi's list is better than none.
    if not paths.cafile and not paths.capath:
        with contextlib.suppress(ImportError):
            import certifi

            made.load_verify_locations(cafile=certifi.where())
    if not ca_bundle:
        return made
    is_text = "-----BEGIN" in ca_bundle
    try:
        made.load_verify_locations(**{"cadata" if is_text else "cafile": ca_bundle})
    except (OSError, ssl.SSLError) as error:
        raise InvalidConfiguration(
            f"{CA_BUNDLE}: {'its text' if is_text else repr(ca_bundle)} cannot be read as certificates: {error}",
            hint="give the path of a PEM file, or its text",
        ) from error
    return made


def _base(environment: Mapping[str, str]) -> Path | None:
    places = (environment.get("SSL_CERT_FILE"), *_SYSTEM)
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


def _more(environment: Mapping[str, str], of_pip: Iterable[str]) -> Iterator[Path | str]:
    """Yield what is added to `_base`: files, directories of files, and texts."""
    base = _base(environment)
    seen = {base.resolve(), base.resolve().parent} if base else set()
    named = [environment.get(name, "") for name in VARIABLES if name != "SSL_CERT_FILE"]
    for place in (*named, *of_pip, environment.get(CA_BUNDLE, "")):
        if "-----BEGIN" in place:
            yield place
        elif place and Path(place).exists() and (path := Path(place).resolve()) not in seen:
            seen.add(path)
            yield path
        elif place and not Path(place).exists():
            log.warning("named certificate files do not exist", extra={"fields": {"file": place}})


def _of_pip(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield `cert` of pip's files: https://pip.pypa.io/en/stable/topics/configuration/#location."""
    import configparser

    if environment.get("PIP_CONFIG_FILE") == os.devnull:  # which makes pip read none
        return
    home = environment.get("HOME", "")
    own = environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    places = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf", f"{sys.prefix}/pip.conf"]
    places += [f"{home}/.pip/pip.conf"] if home else []
    places += [f"{own}/pip/pip.conf"] if own else []
    # In pip's order, from the machine's file to the one that is named.
    for place in (*places, environment.get("PIP_CONFIG_FILE", "")):
        parser = configparser.RawConfigParser()
        with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(place)
            yield parser.get("global", "cert", fallback="")


def _blocks(source: Path | str | None) -> list[str]:
    """Return certificates in PEM, each spelled the same wherever it comes from."""
    if source is None:
        return []
    texts = [source] if isinstance(source, str) else _texts(source)
    return [block.replace("\r", "") for text in texts for block in re.findall(_BLOCK, text)]


def _texts(path: Path) -> list[str]:
    files = sorted(path.iterdir())[:_MOST_FILES] if path.is_dir() else [path]
    texts = []
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            texts.append(file.read_text("ascii" if path.is_dir() else "utf-8"))
    return texts


def _kept(text: str, *, in_memory: bool) -> str:
    if in_memory and hasattr(os, "memfd_create"):
        import fcntl

        # Not in /tmp: foreign code of the same user could add its own authority there.
        file = os.memfd_create("certificates", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(os.dup(file), "w") as stream:
            stream.write(text)
        # Sealed against every process, this one included: foreign code runs as the same user.
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        return f"{_IN_MEMORY}{file}"
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="lambdasmith-certificates-")
    # A file is enough on a workstation, where all that runs is its owner's.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "certificates.pem"
    path.write_text(text)
    return str(path)

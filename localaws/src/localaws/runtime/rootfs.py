"""The read-only root directory of a sandbox: what Lambda's operating system has, made from the host's own files."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localaws import whole
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.network import certificates
from localaws.runtime.nodes import Node

__all__ = ["Bind", "Language", "Root", "Roots", "certificate_binds"]

Language = Interpreter | Node
"""What a managed runtime has in `/var/lang`."""

# What bash, coreutils-single, gawk, grep, sed and curl-minimal give on Lambda. Not there on purpose: git, ssh, tar,
# zip, unzip, find, xargs, a compiler, and any second Python.
_TOOLS = (
    "arch awk base32 base64 basename bash cat chmod chown cksum comm cp csplit curl cut date dd df dir "
    "dirname du echo egrep env expand expr factor false fgrep fmt fold gawk getconf grep groups head "
    "hostid id install join ldd link ln locale logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl "
    "nohup nproc numfmt od paste pathchk pinky pr printenv printf ptx pwd readlink realpath rm rmdir sed "
    "seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum "
    "sync tac tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink users wc "
    "who whoami yes [ "
)

_PACKAGES = "var/lang/packages"
"""Laid over the host interpreter's site-packages: what somebody installed there is not in Lambda."""

_LAYOUT = 5
"""Part of every key: raise it when what is laid out below changes."""

_SYSTEMS = {
    "al2": 'NAME="Amazon Linux"\nVERSION="2"\nID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2"\n'
    'PRETTY_NAME="Amazon Linux 2"\n',
    "al2023": 'NAME="Amazon Linux"\nVERSION="2023"\nID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n'
    'PLATFORM_ID="platform:al2023"\nPRETTY_NAME="Amazon Linux 2023"\n',
}
_FOLDERS = (
    *("dev", "etc/pki/tls/certs", "etc/ssl/certs", "opt", "proc", "run", "tmp", "usr/bin", "usr/lib", "usr/local/bin"),
    *("usr/lib/locale", "usr/lib/ssl", "usr/share/zoneinfo", "var/lang", "var/rapid", "var/runtime", "var/task"),
)
_CERTIFICATE_PLACES = (
    *("etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-bundle.crt", "etc/pki/tls/certs/ca-bundle.crt"),
    *("etc/ssl/cert.pem", "etc/pki/tls/cert.pem", "usr/lib/ssl/cert.pem"),
)


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A host path shown read-only inside."""

    source: Path
    target: str


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root directory, and what has to be bound into it: its mount points are there already."""

    path: Path
    binds: tuple[Bind, ...]


class Roots:
    """Makes each root once below a cache. Thread-safe."""

    def __init__(self, cache: Path, *, extra: Sequence[Bind] = (), environ: Mapping[str, str] | None = None) -> None:
        """`extra` is bound into every root, at places that need not exist yet."""
        self._cache = cache
        self._extra = tuple(extra)
        self._path = (environ or {}).get("PATH", "") + ":/usr/bin:/bin"
        self._made: dict[tuple[str, Language | None], Root] = {}
        self._lock = threading.Lock()

    def get(self, system: str, language: Language | None) -> Root:
        """The root of an operating system ("al2", "al2023"), with `/var/lang` when there is a language."""
        with self._lock:
            if (system, language) not in self._made:
                self._made[system, language] = self._make(system, language)
            return self._made[system, language]

    def _make(self, system: str, language: Language | None) -> Root:
        tools = {name: Path(found) for name in _TOOLS.split() if (found := shutil.which(name, path=self._path))}
        bundle = certificates(os.environ)
        libraries = _library_folders()
        interpreter = language if isinstance(language, Interpreter) else None
        packages = _packages(interpreter) if interpreter else {}
        network = [
            Bind(source=Path(os.path.realpath(name)), target=name)
            for name in ("/etc/resolv.conf", "/etc/hosts")
            if Path(name).is_file()
        ]
        zones = Path("/usr/share/zoneinfo")
        binds = (
            *(Bind(source=folder, target=str(folder)) for folder in libraries),
            *([Bind(source=zones, target=str(zones))] if zones.is_dir() else []),
            *network,
            *(_language_binds(language) if language else ()),
            *self._extra,
        )
        facts = [
            *tools.values(),
            *packages.values(),
            *([bundle] if bundle else []),
            *([language.executable] if language else []),
        ]
        key = hashlib.sha256(
            repr((_LAYOUT, system, [_identity(path) for path in facts], binds, str(language))).encode()
        ).hexdigest()[:32]
        target = self._cache / "roots" / f"{system}-{key}"
        if not target.is_dir():
            with whole.folder(target) as work:
                _fill(work, system, tools, bundle)
                if interpreter:
                    _fill_python(work / "var" / "lang", interpreter)
                    _fill_packages(work / _PACKAGES, packages)
                _mount_points(work, binds)
        if interpreter and (interpreter.stdlib / "site-packages").is_dir():
            place = f"/var/lang/lib/python{interpreter.version}/site-packages"
            binds = (*binds, Bind(source=target / _PACKAGES, target=place))
        return Root(path=target, binds=binds)


def certificate_binds(variables: Mapping[str, str]) -> tuple[Bind, ...]:
    """What a sandbox must show so that forwarded variables naming certificates stay true inside.

    Only absolute paths in variables about certificates count: no other variable can open a host's file to a function.
    """
    values = {
        value
        for name, value in variables.items()
        if any(word in name.upper() for word in ("CERT", "CA_BUNDLE", "CAINFO", "CAFILE")) and value.startswith("/")
    }
    provided = {f"/{place}" for place in _CERTIFICATE_PLACES} | {"/etc/ssl/certs", "/etc/pki/tls/certs"}
    return tuple(
        Bind(source=Path(os.path.realpath(value)), target=value)
        for value in sorted(values - provided)
        if Path(value).exists()
    )


def _identity(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _library_folders() -> list[Path]:
    """The folders of the host's shared libraries, narrow ones where the system has them.

    On Debian and its kin /usr/lib also holds git's and the compiler's programs; the multiarch folder does not.
    """
    loaded = {
        Path(os.path.realpath(line.split()[-1])).parent
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/libc.so" in line or "/libc-2" in line or "/ld-musl" in line
    }
    return sorted(loaded)


def _language_binds(language: Language) -> tuple[Bind, ...]:
    match language:
        case Interpreter():
            return _python_binds(language)
        case Node():  # 120 MB in one file that needs nothing beside it: not worth a copy
            return (Bind(source=language.executable, target="/var/lang/bin/node"),)


def _python_binds(interpreter: Interpreter) -> tuple[Bind, ...]:
    version = interpreter.version
    binds = [Bind(source=interpreter.stdlib, target=f"/var/lang/lib/python{version}")]
    if interpreter.include.is_dir():
        # Debian keeps half of them by architecture, and the others include that half.
        halves = interpreter.include.parent.glob(f"*-linux-gnu*/python{version}")
        places = {f"{half.parent.name}/python{version}": half for half in halves}
        places[f"python{version}"] = interpreter.include
        binds += [Bind(source=source, target=f"/var/lang/include/{place}") for place, source in places.items()]
    visible = {str(folder) for folder in _library_folders()}
    binds += [
        Bind(source=Path(os.path.realpath(library)), target=f"/var/lang/lib/{library.name}")
        for library in interpreter.shared_libraries
        if os.path.realpath(library.parent) not in visible
    ]
    return tuple(binds)


def _fill(work: Path, system: str, tools: Mapping[str, Path], bundle: Path | None) -> None:
    for folder in _FOLDERS:
        (work / folder).mkdir(parents=True, exist_ok=True)
    for link, aim in {"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}.items():
        (work / link).symlink_to(aim)
    (work / "usr" / "lib64").mkdir()
    _copy_tools(work / "usr" / "bin", tools)
    for loader in [*Path("/lib").glob("ld-*.so*"), *Path("/lib64").glob("ld-*.so*")]:
        place = work / "usr" / loader.parent.name / loader.name
        if not place.exists():
            place.symlink_to(os.path.realpath(loader))
    etc = work / "etc"
    (etc / "os-release").write_text(_SYSTEMS[system])
    (etc / "system-release").write_text(_SYSTEMS[system].split('PRETTY_NAME="')[1].rstrip('"\n') + "\n")
    (etc / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n"
    )
    (etc / "group").write_text("root:x:0:\nsbx_user1051:x:990:\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (etc / "localtime").symlink_to("../usr/share/zoneinfo/UTC")
    if bundle:
        for name in _CERTIFICATE_PLACES:
            shutil.copyfile(bundle, work / name)
    # en_US.UTF-8 is Lambda's LANG; few hosts have it, and C's character classes are the same.
    if (plain := Path("/usr/lib/locale/C.utf8")).is_dir():
        for name in ("C.utf8", "en_US.utf8"):
            shutil.copytree(plain, work / "usr" / "lib" / "locale" / name)


def _copy_tools(folder: Path, tools: Mapping[str, Path]) -> None:
    """Copies of the tools; the many names of one multi-call binary become links to its one copy."""
    copied: dict[str, str] = {}
    for name, path in tools.items():
        real = os.path.realpath(path)
        if real in copied:
            (folder / name).symlink_to(copied[real])
        else:
            shutil.copy(real, folder / name)
            (folder / name).chmod(0o755)
            copied[real] = name
    # /bin/sh is bash on Amazon Linux, whatever it is here.
    (folder / "sh").symlink_to("bash")


def _fill_python(lang: Path, interpreter: Interpreter) -> None:
    (lang / "bin").mkdir()
    (lang / "lib").mkdir()
    executable = lang / "bin" / f"python{interpreter.version}"
    shutil.copy(interpreter.executable, executable)
    executable.chmod(0o755)
    (lang / "bin" / "python3").symlink_to(executable.name)
    (lang / "bin" / "python").symlink_to(executable.name)


def _packages(interpreter: Interpreter) -> dict[str, Path]:
    """What Lambda's own site-packages hold too, as far as the host has it: pip."""
    folder = interpreter.stdlib / "site-packages"
    return {path.name: path for path in [*folder.glob("pip"), *folder.glob("pip-*.dist-info")]}


def _fill_packages(folder: Path, packages: Mapping[str, Path]) -> None:
    folder.mkdir()
    for name, path in packages.items():
        shutil.copytree(path, folder / name)


def _mount_points(work: Path, binds: Iterable[Bind]) -> None:
    for bind in binds:
        place = work / bind.target.lstrip("/")
        if bind.source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()

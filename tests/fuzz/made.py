"""Samples that are made by programs: wheels, libraries, archives; and what parsers find around their files."""

from __future__ import annotations

import base64
import functools
import io
import json
import sys
import tarfile
import tempfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from builder.archives import tars
from builder.event.request import ArchiveSource, ManifestSource, ObjectSource
from builder.flow.order import Fresh, Order
from builder.network.access import Network
from builder.sources.git import resolve
from builder.sources.snapshot import Resolved
from builder.workspace.domains import Domain
from tests.fuzz import samples
from tests.sources.forge import git
from tests.wheelhouse import make_wheel


def project(root: Path) -> None:
    """A project that has what the samples name."""
    for folder in ("local", "wheels", "templates", "data", "src", "lib"):
        (root / folder).mkdir(parents=True)
    for name, content in {
        "local/pyproject.toml": b'[project]\nname = "local"\nversion = "1"\n',
        "wheels/a-1.0-py3-none-any.whl": b"x",
        "templates/a.html": b"x",
        "data/a": b"x",
        "src/app.ts": b"export const handler = 1",
        "lambda_function.py": b"def lambda_handler(event, context): pass\n",
        "constraints.txt": samples.CONSTRAINTS,
        "more.txt": samples.MORE,
        "requirements.txt": b"idna\n",
        "pyproject.toml": samples.PYPROJECT,
        "package.json": samples.PACKAGE_JSON,
        "package-lock.json": samples.PACKAGE_LOCK,
    }.items():
        (root / name).write_bytes(content)


def build_files() -> tuple[bytes, ...]:
    """build.yaml as JSON, which is YAML, too."""
    return (json.dumps(yaml.safe_load(samples.BUILD_YAML)).encode(),)


@functools.cache
def wheels() -> tuple[bytes, ...]:
    """A small wheel with all that is looked at, and one whose files are not compressed."""
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "import os\n" * 20,
        "pkg/café.txt": "x",
        "pkg/native.so": elfs()[0][:600],
        "pkg/tests/test_a.py": "def test(): pass\n",
        "top.pth": "import sys\n",
        "pkg-1.0.data/scripts/run": "#!python\nprint()\n",
        "pkg-1.0.data/purelib/other.py": "x = 1\n",
        "pkg-1.0.dist-info/entry_points.txt": samples.ENTRY_POINTS,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = make_wheel(Path(folder), "pkg", files=files, executables=("pkg/native.so",), requires=("idna>=2",))
        stored = io.BytesIO()
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(stored, "w") as copy:
            for name in source.namelist():
                copy.writestr(name, source.read(name))
        return path.read_bytes(), stored.getvalue()


@functools.cache
def elfs() -> tuple[bytes, ...]:
    """The smallest extension module of this Python, and what there is of a program."""
    libraries = [Path(folder) / name for folder in sys.path for name in _names(folder) if name.endswith(".so")]
    smallest = min(libraries, key=lambda path: path.stat().st_size, default=Path(sys.executable).resolve())
    return (smallest.read_bytes()[: 1 << 20],)


def _names(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else []


@functools.cache
def toolchains() -> tuple[bytes, ...]:
    """An archive in each form."""
    plain, *packed, zipped = (io.BytesIO() for _ in range(5))
    for out, mode in zip((plain, *packed), ("w", "w:gz", "w:xz", "w:bz2"), strict=True):
        with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]  # one of two literals
            for name, kind, target in (
                ("tool/bin/run", tarfile.REGTYPE, ""),
                ("tool/bin/link", tarfile.SYMTYPE, "run"),
                ("tool/bin/hard", tarfile.LNKTYPE, "tool/bin/run"),
                ("tool/lib", tarfile.DIRTYPE, ""),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname, member.mode = kind, target, 0o755
                member.size = 5 if kind == tarfile.REGTYPE else 0
                archive.addfile(member, io.BytesIO(b"hello"))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tool/bin/run", "hello" * 10)
        archive.writestr("tool/lib/a", "b")
    zst = tars.zstandard().compress(plain.getvalue())
    return plain.getvalue(), zst, zipped.getvalue(), *(out.getvalue() for out in packed)


def product() -> bytes:
    """What a worker may answer."""
    artifact = {
        "sha256": "ab" * 32,
        "size": 10,
        "unzipped": 20,
        "files": 2,
        "pruned": [{"rule": "tests", "files": 1, "bytes": 5}],
        "contents": ["a 1.0"],
        "parts": ["part-1"],
        "notes": ["n"],
        "native_libraries": [
            {"library": "l.so", "from": "/lib/l.so", "sha256": "cd" * 32, "size": 1, "needed_by": ["a.so"]}
        ],
        "missing_libraries": ["m.so"],
    }
    text = "function: {runtimes: [python3.13], handler: a.b, files: [a.py]}\nlayers: {dependencies: [r.txt]}\n"
    return json.dumps(
        {
            "outline": {
                "text": text,
                "file": "build.yaml",
                "key": "",
                "stage": "",
                "parameters": {},
                "dependencies": ["r.txt"],
                "layers": [],
                "runtime": "python3.13",
                "architecture": "x86_64",
            },
            "commit": "a" * 40,
            "ref": "refs/heads/main",
            "tree": "b" * 40,
            "plans": [
                {"name": name, "kind": name, "key": "ab" * 32, "action": action, "why": "w", "changed": ["c"]}
                for name, action in (("function", "build"), ("dependencies", "reuse"))
            ],
            "artifacts": {"function": artifact, "dependencies": artifact},
            "checked": {"tried": True, "why": "", "native_files": 1, "reused": False},
            "lock_id": "ef" * 32,
            "distributions": [{"name": "idna", "version": "3.7", "index": None}],
        }
    ).encode()


def orders() -> tuple[bytes, ...]:
    """Orders with each kind of source."""
    domain = Domain(name="git.example/o/n", keeps=True, vouched=True)
    fresh = Fresh(runtime="python3.13", architecture="arm64", lock="x")
    found = [
        Order(source=source, domain=domain, function="shop", keys={"function": "k"}, fresh=fresh, known=("a",))
        for source in (
            Resolved(url="https://git.example/o/n", ref="main", commit="a" * 40),
            ArchiveSource(content=b"PK"),
            ObjectSource(bucket="b", key="k", version_id=None),
            ManifestSource(bucket="b", manifest="k", version_id="v"),
        )
    ]
    return tuple(json.dumps(order.as_json()).encode() for order in found)


def work_tree(root: Path) -> None:
    """A repository with a commit."""
    root.mkdir()
    (root / "a.py").write_text("")
    (root / ".gitignore").write_text("*.pyc\n")
    git(root, "init", "-q", "-b", "main")
    blob = git(root, "hash-object", "-w", "a.py")
    # Without what a disk says of a file: the index is the same each time.
    for name in ("a.py", "b/c.py"):
        git(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    git(root, "commit", "-q", "-m", "one")
    git(root, "remote", "add", "origin", "https://git.example/o/n")


@functools.cache
def git_file(name: str) -> bytes:
    """A file of git's own."""
    with tempfile.TemporaryDirectory() as folder:
        work_tree(Path(folder) / "work")
        return (Path(folder) / "work/.git" / name).read_bytes()


def private_key() -> bytes:
    """The form of a key of RSA, with numbers that fit together and protect nothing."""
    numbers = (0, (1 << 2047) + 1, 1, 1, 3, 5, 1, 1, 1)
    content = b"".join(_der(0x02, number.to_bytes(number.bit_length() // 8 + 1)) for number in numbers)
    body = base64.encodebytes(_der(0x30, content)).decode()
    kind = "RSA PRIVATE KEY"
    return f"-----BEGIN {kind}-----\n{body}-----END {kind}-----\n".encode()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2)
    return bytes([tag]) + length + content


class _Handler(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@functools.cache
def _server() -> str:
    """A git server that says what `_Handler.body` is. It ends with the process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, name="fuzz", daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/o/n"


def listed(data: bytes, place: Path) -> object:
    """Ask for a branch where the server answers `data` to everything."""
    _Handler.body = data
    return resolve(_server(), "main", network=Network(remaining=_short))


def _short() -> float:
    return 5.0

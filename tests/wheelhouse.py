"""Small real wheels, written by the rules of the wheel format, odd ones included."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str | bytes],
    tag: str = "py3-none-any",
    executables: tuple[str, ...] = (),
    requires: tuple[str, ...] = (),
    broken_record: tuple[str, ...] = (),
) -> Path:
    """Write NAME-VERSION-TAG.whl into `folder`.

    Args:
        executables: names of files that have the executable bit in the archive.
        broken_record: names of files whose hash in RECORD is wrong.
    """
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    whole: dict[str, str | bytes] = {
        **files,
        f"{info}/METADATA": "".join(metadata),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    path = folder / f"{name}-{version}-{tag}.whl"
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in whole.items():
            data = content.encode() if isinstance(content, str) else content
            member = zipfile.ZipInfo(entry, (2024, 1, 2, 3, 4, 6))
            member.external_attr = (0o100755 if entry in executables else 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
            digest = hashlib.sha256(b"other" if entry in broken_record else data).digest()
            rows.append(f"{entry},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{len(data)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return path


def make_sdist(folder: Path, name: str, version: str = "1.0", *, files: Mapping[str, str]) -> Path:
    """Write NAME-VERSION.tar.gz with these files (setup.py or pyproject.toml among them) into `folder`."""
    path = folder / f"{name}-{version}.tar.gz"
    whole = {**files, "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n"}
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in whole.items():
            member = tarfile.TarInfo(f"{name}-{version}/{entry}")
            member.size, member.mtime, member.mode = len(content.encode()), 1_700_000_000, 0o644
            archive.addfile(member, io.BytesIO(content.encode()))
    return path

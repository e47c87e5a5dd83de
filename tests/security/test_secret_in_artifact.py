"""A secret that commands have left is also found in archives that they made, and a bomb cannot stop the search."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.archives.inside import Looking
from builder.errors import SecretInArtifact
from builder.secrets.masking import Masker
from builder.workshop.commands import check_artifact
from tests.security.conftest import Lab
from tests.security.test_malicious import HANDLER, build_file

SECRET = "tok-canary-9f31-artifact"
TEXT = f"settings = {{'token': '{SECRET}'}}\n".encode() + b"# nothing else\n" * 500


class Known:
    """The secrets that a build has read."""

    def __init__(self) -> None:
        self.masker = Masker()
        self.masker.add(SECRET)

    def values(self, references: Sequence[str]) -> dict[str, str]:
        return {}

    def contained(self, content: bytes) -> bool:
        return self.masker.contained(content)


def zipped(content: bytes, name: str = "a/settings.py", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("other.txt", "x")
        archive.writestr(name, content)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "zip": zipped,
    "zip by bzip2": lambda content: zipped(content, method=zipfile.ZIP_BZIP2),
    "gz": gzip.compress,
    "two in one gz": lambda content: gzip.compress(b"first") + gzip.compress(content),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "a program before a zip": lambda content: b"#!/bin/sh\nexit\n" + zipped(content),
    "jar in a zip": lambda content: zipped(zipped(content), "app.jar"),
    "gz in a wheel": lambda content: zipped(gzip.compress(content), "data.json.gz"),
    "zip in a gz": lambda content: gzip.compress(zipped(content)),
}


def leaks(tmp_path: Path, content: bytes) -> bool:
    file = tmp_path / "file"
    file.write_bytes(content)
    try:
        check_artifact("layer x", [("some/file", file)], Known())
    except SecretInArtifact as error:
        said = error.message
    else:
        return False
    assert "some/file" in said
    assert SECRET not in said
    return True


@pytest.mark.parametrize("name", PACKED)
def test_a_secret_is_found_in_what_is_packed(tmp_path: Path, name: str) -> None:
    pack = PACKED[name]
    assert SECRET.encode() not in pack(TEXT), "it is not packed"
    assert leaks(tmp_path, pack(TEXT))
    assert not leaks(tmp_path, pack(TEXT.replace(SECRET.encode(), b"nothing")))


def test_a_name_in_a_zip_in_a_zip_is_looked_at(tmp_path: Path) -> None:
    assert leaks(tmp_path, zipped(zipped(b"x", name=f"a/{SECRET}")))


def test_what_is_damaged_or_encrypted_is_looked_at_as_far_as_it_goes(tmp_path: Path) -> None:
    noise = os.urandom(200_000)
    assert leaks(tmp_path, gzip.compress(TEXT + noise)[:100_000])
    damaged = bytearray(zipped(noise, "noise.bin"))
    damaged[5000:5100] = bytes(100)
    assert not leaks(tmp_path, bytes(damaged))
    encrypted = bytearray(zipped(TEXT))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = encrypted.find(signature)
        while position >= 0:
            encrypted[position + at] |= 1
            position = encrypted.find(signature, position + 1)
    assert not leaks(tmp_path, bytes(encrypted))


def test_a_bomb_takes_neither_memory_nor_time(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(200 << 20), 1)
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}.gz", bomb)
    started = time.monotonic()
    tracemalloc.start()
    try:
        assert not leaks(tmp_path, many.getvalue())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20, "memory"
    assert time.monotonic() - started < 60
    looking = Looking()
    assert sum(map(len, looking.at(many.getvalue()))) < 400 << 20


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"PK\x03\x04"]))
def test_any_bytes_are_looked_at_without_an_error(content: bytes, beginning: bytes) -> None:
    end = b"PK\x05\x06" + bytes(18)
    for given_bytes in (beginning + content, beginning + content + end, content + end + content):
        assert next(iter(Looking().at(given_bytes))) == given_bytes
        assert list(Looking().at(given_bytes))


def test_a_command_that_packs_its_secret_fails_the_build(lab: Lab) -> None:
    command = (
        "python -c \"import os, zipfile; archive = zipfile.ZipFile('made.zip', 'w', zipfile.ZIP_DEFLATED); "
        "archive.writestr('a.txt', os.environ['TOKEN'] + ' ' * 5000); archive.close()\""
    )
    layer = (
        f"  packed:\n    preinstall: [{json.dumps(command)}]\n    files: [made.zip]\n"
        "    secrets: [{env: TOKEN, from: 'secretsmanager:team/npm#token'}]\n"
    )
    files = {"build.yaml": build_file(lab.builder.runtime, layer), "lambda_function.py": HANDLER}
    lab.builder.forge.push("team-packing", files)
    reply = lab.builder.build("team-packing")
    assert reply["error"]["code"] == "secret_in_artifact", reply
    assert "made.zip" in reply["error"]["message"]

"""A project of several repositories, private ones, deployed by the builder; and what its server does not have."""

from __future__ import annotations

import subprocess

from tests.e2e.conftest import _WHO, Builder

CODE = """\
import sys
sys.path.insert(0, "vendor/lib")
from shared import VALUE

def handler(event, context):
    return VALUE
"""


def test_a_private_submodule_is_deployed_and_moves_with_its_commit(builder: Builder) -> None:
    clone = builder.forge.work / "composed"
    first = builder.forge.push("composed-lib", {"shared.py": "VALUE = 'first'\n"})
    second = builder.forge.push("composed-lib", {"shared.py": "VALUE = 'second'\n"})
    build_file = f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py, vendor/]\n"
    modules = '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../composed-lib.git\n'
    builder.forge.push("composed", {"build.yaml": build_file, "app.py": CODE, ".gitmodules": modules})
    (clone / "vendor" / "lib").mkdir(parents=True)
    for commit, value in ((first, "first"), (second, "second")):
        for words in (
            ("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/lib"),
            (*_WHO, "commit", "-q", "-m", "move the submodule"),
            ("push", "-q", "origin", "main"),
        ):
            subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True)
        reply = builder.build("composed")
        assert reply["statusCode"] == 200, reply
        assert reply["warnings"] == []
        assert builder.invoke("composed") == value


def test_an_lfs_file_that_the_forge_does_not_have_is_never_shipped_as_a_pointer(builder: Builder) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n"
    build_file = f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n"
    code = "def handler(event, context):\n    return 1\n"
    builder.forge.push("pointed", {"build.yaml": build_file, "app.py": code, "m.bin": pointer})
    reply = builder.build("pointed")
    assert reply["error"]["code"] == "lfs_missing"
    assert "m.bin: is a Git LFS pointer: the LFS server" in reply["error"]["message"]
    assert "answers 404" in reply["error"]["message"]
    assert any("answers 404" in warning for warning in reply["warnings"]), reply
    assert builder.state("pointed") is None

# ruff: noqa: E501  # tables of cases
"""Go: what is built, from where, and what is said when it cannot be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builder.archives.zips import unpack
from builder.errors import CompilationFailed, InvalidBuildFile
from builder.kinds import table
from builder.natives.elf import read_natives
from tests.making.kinds import Lab, lab, names, write

MOD = "module example.com/app\n\ngo 1.24\n"
BUILD = "function:\n  runtimes: [provided.al2023]\n  build: go\n"
# Small on purpose: the standard library's network packages take twenty seconds to compile.
MAIN = 'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString(%s) }\n'


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab(tmp_path_factory.mktemp("go"))


def output(archive: Path, folder: Path) -> str:
    """What the program in the artifact prints."""
    folder.mkdir(parents=True, exist_ok=True)
    unpack(archive, folder)
    return subprocess.run([folder / "bootstrap"], check=True, capture_output=True, text=True, env={}).stdout


def test_the_same_bytes_from_two_directories_two_umasks_and_two_caches(go: Lab, tmp_path: Path) -> None:
    hashes = []
    for name, umask in (("here", 0o022), ("elsewhere/far", 0o077)):  # each directory has a cache of its own
        before = os.umask(umask)
        try:
            root = write(tmp_path / name, {"go.mod": MOD, "main.go": MAIN % '"hello"', "build.yaml": BUILD})
            reply = go.build(root, tmp_path / "out" / name)
        finally:
            os.umask(before)
        hashes.append(reply["artifacts"][0]["sha256"])
    assert hashes[0] == hashes[1]
    archive = tmp_path / "out" / "here" / "function.zip"
    assert names(archive) == {"bootstrap": True}
    assert output(archive, tmp_path / "run") == "hello"
    assert str(tmp_path).encode() not in (tmp_path / "run" / "bootstrap").read_bytes()
    [native] = read_natives(archive)
    assert native.needed == ()
    # A test or a readme is no reason to build; a source is.
    write(tmp_path / "here", {"main_test.go": "package main\n"})
    assert go.build(tmp_path / "here", tmp_path / "out" / "here")["artifacts"][0]["action"] == "reuse"
    write(tmp_path / "here", {"main.go": MAIN % '"hallo"'})
    changed = go.build(tmp_path / "here", tmp_path / "out" / "here")
    assert changed["artifacts"][0]["action"] == "build"
    assert output(archive, tmp_path / "run") == "hallo"


def test_vendored_workspace_and_replaced_modules_need_no_network(go: Lab, tmp_path: Path) -> None:
    library = 'package lib\n\nfunc Word() string { return "%s" }\n'
    use = 'package main\n\nimport (\n\t"os"\n\n\t"example.com/lib"\n)\n\nfunc main() { os.Stdout.WriteString(lib.Word()) }\n'
    require = MOD + "\nrequire example.com/lib v1.0.0\n"
    layouts = {
        "vendored": {
            "go.mod": require,
            "vendor/modules.txt": "# example.com/lib v1.0.0\n## explicit; go 1.24\nexample.com/lib\n",
            "vendor/example.com/lib/lib.go": library % "vendored",
            "main.go": use,
        },
        "replaced": {
            "go.mod": require + "\nreplace example.com/lib => ./lib\n",
            "lib/go.mod": "module example.com/lib\n\ngo 1.24\n",
            "lib/lib.go": library % "replaced",
            "main.go": use,
        },
        "workspace": {
            "go.work": "go 1.24\n\nuse (\n\t./app\n\t./lib\n)\n",
            "app/go.mod": require,
            "app/main.go": use,
            "lib/go.mod": "module example.com/lib\n\ngo 1.24\n",
            "lib/lib.go": library % "workspace",
        },
    }
    for name, files in layouts.items():
        build = BUILD + ("  source_dir: app\n" if name == "workspace" else "")
        root = go.place({**files, "build.yaml": build})
        reply = go.build(root, tmp_path / "out" / name, GOPROXY="off")
        assert output(tmp_path / "out" / name / "function.zip", tmp_path / "run" / name) == name, reply


def test_several_commands_tags_and_files_beside_them(go: Lab, tmp_path: Path) -> None:
    files = {
        "go.mod": MOD,
        "cmd/api/main.go": "//go:build special\n\n" + MAIN % '"api"',
        "cmd/tool/main.go": "package main\n\nvar word = \"unset\"\n\nfunc main() { println(word) }\n",
        "static/page.html": "<html>",
        "build.yaml": "function:\n  runtimes: [provided.al2023]\n  files: [static/]\n  build:\n    go:\n"
        "      packages: {bootstrap: ./cmd/api, bin/tool: cmd/tool}\n      tags: [special]\n"
        "      ldflags: -X main.word=set\nlayers:\n  extension:\n    dest_dir: extensions\n    build: {go: ./cmd/tool}\n",
    }  # fmt: skip
    out = tmp_path / "out"
    reply = go.build(write(tmp_path / "app", files), out, architecture="arm64")
    assert names(out / "function.zip") == {"bin/tool": True, "bootstrap": True, "static/page.html": False}
    assert names(out / "layers" / "extension.zip") == {"extensions/extension": True}
    assert {native.machine for native in read_natives(out / "function.zip")} == {"aarch64"}
    assert {row["name"]: row["kind"] for row in reply["artifacts"]} == {"extension": "layer", "function": "function"}


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        pytest.param({"main.go": "package main\n\nfunc main() { undefinedThing() }\n"}, r"function.build: go build \. fails: \./main\.go:3:15: undefined: undefinedThing", "above", id="undefined"),
        pytest.param({"main.go": "package main\n\nfunc main( {\n"}, r"main\.go:3:\d+: syntax error", "above", id="syntax"),
        pytest.param({"main.go": 'package main\n\nimport _ "example.com/none"\n\nfunc main() {}\n'}, r"no required module provides package example\.com/none", "go mod tidy", id="import"),
        pytest.param({"go.mod": "module example.com/app\n\ngo 9.99\n", "main.go": MAIN % '""'}, r"requires go >= 9\.99", "lower the go line of go.mod", id="too-new"),
        pytest.param({"go.mod": MOD + "\nrequire github.com/google/uuid v1.6.0\n", "main.go": 'package main\n\nimport "github.com/google/uuid"\n\nfunc main() { println(uuid.NewString()) }\n'}, r"missing go\.sum entry", "go mod tidy", id="go.sum"),
    ],
)  # fmt: skip
def test_what_does_not_compile_is_told_in_the_compilers_words(
    go: Lab, tmp_path: Path, files: dict[str, str], message: str, hint: str
) -> None:
    root = go.place({"go.mod": MOD, "build.yaml": BUILD, **files})
    with pytest.raises(CompilationFailed, match=message) as caught:
        go.build(root, tmp_path / "out")
    assert hint in caught.value.hint
    assert caught.value.phase == "function"
    assert not (tmp_path / "out" / "function.zip").exists()


@pytest.mark.parametrize(
    ("files", "build", "problem"),
    [
        pytest.param({"main.go": MAIN % '""'}, "go", "there is no go.mod in . or above it", id="no-module"),
        pytest.param({"go.mod": MOD, "a.go": "package app\n"}, "go", "no `package main` in . or below it", id="no-command"),
        pytest.param({"go.mod": MOD, "cmd/a/a.go": "package main\n", "cmd/b/b.go": "package main\n"}, "go", "there are several commands; name one: go: ./cmd/a; there are ./cmd/a, ./cmd/b", id="several"),
        pytest.param({"go.mod": MOD, "cmd/a/a.go": "package main\n"}, "{go: ./cmd/z}", "./cmd/z is not a directory; there are ./cmd/a", id="missing"),
        pytest.param({"go.mod": MOD, "a.go": "package app\n", "cmd/a/a.go": "package main\n"}, "{go: .}", ". is not a command: none of its files says `package main`; there are ./cmd/a", id="library"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_before_anything_is_fetched(
    tmp_path: Path, files: dict[str, str], build: str, problem: str
) -> None:
    text = f"function:\n  runtimes: [provided.al2023]\n  build: {build}\n"
    root = write(tmp_path / "app", {**files, "build.yaml": text})
    with pytest.raises(InvalidBuildFile) as caught:
        lab(tmp_path).build(root, tmp_path / "out")
    assert caught.value.message == f"build.yaml:3: function.build: {problem}" or problem in caught.value.message
    assert not (tmp_path / "cache" / "cache" / "tools").exists()


def test_a_project_without_a_build_file_is_seen_for_what_it_is(tmp_path: Path) -> None:
    root = write(tmp_path / "app", {"go.mod": MOD, "cmd/api/a.go": "package main\n", "cmd/job/b.go": "package main\n"})
    assert table.detected(root, "job") == (
        "go",
        {"runtimes": ["provided.al2023"], "handler": "bootstrap", "build": {"go": "./cmd/job"}},
    )
    (root / "go.mod").unlink()
    assert table.detected(root, "job") is None


def test_c_in_go_is_compiled_for_the_runtimes_c_library(go: Lab, tmp_path: Path) -> None:
    source = 'package main\n\n// #include <stdlib.h>\n// int seven(void) { return abs(-7); }\nimport "C"\n\nfunc main() { println(C.seven()) }\n'
    build = "function:\n  runtimes: [provided.al2023]\n  build: {go: {cgo: true}}\n"
    root = write(tmp_path / "app", {"go.mod": MOD, "main.go": source, "build.yaml": build})
    go.build(root, tmp_path / "out", architecture="arm64")
    [native] = read_natives(tmp_path / "out" / "function.zip")
    assert native.machine == "aarch64"
    assert "libc.so.6" in native.needed
    newest = max(tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in native.versions["libc.so.6"])
    assert newest <= (2, 34)
    with pytest.raises(CompilationFailed, match=r"build constraints exclude all Go files|undefined"):
        go.build(write(root, {"build.yaml": BUILD}), tmp_path / "out")

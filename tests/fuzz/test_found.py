"""What damaged inputs have brought to light, each now an error that says where what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.errors import UnsafeSource
from builder.jsontext import read_json
from builder.python.inputs import read_inputs
from tests.fuzz import samples
from tests.fuzz.targets import PARSERS

HEX = samples.HEX
LONG = "x" * 300
EXTRAS = "[extras]\ndb = []\n"
POETRY = EXTRAS + '[[package]]\nname = "a"\nversion = "1"\nfiles = []\n'
PYLOCK = 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1"\n'


def locked_at(key: str, url: str) -> str:
    name = "" if key == "packages.archive" else f"name = 'a-1{'.tar.gz' if 'sdist' in key else '-py3-none-any.whl'}'\n"
    return f"[{key}]\n{name}url = '{url}'\nhashes = {{sha256 = 'x'}}\n"


def pipfile(package: object) -> str:
    return json.dumps({"default": {"a": package}})


def npm(**package: object) -> str:
    return json.dumps({"lockfileVersion": 3, "packages": {"node_modules/a": package}})


def stack(**more: object) -> str:
    return json.dumps({**json.loads(samples.STACK), **more})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("Pipfile.lock", pipfile(None), "Pipfile.lock: default: a: must be a table, not null", id="null"),
        pytest.param(
            "Pipfile.lock",
            pipfile({"git": "https://h/o/a"}),
            "Pipfile.lock: default: a: ref: is missing",
            id="git without ref",
        ),
        pytest.param(
            "Pipfile.lock",
            pipfile({"version": "==1", "hashes": "sha256:x"}),
            "Pipfile.lock: default: a: hashes: must be a list, not text",
            id="hashes that are no list",
        ),
        pytest.param("Pipfile.lock", "[" * 5000, "Pipfile.lock is not valid JSON: it is nested too deeply", id="deep"),
        pytest.param("Pipfile.lock", "[]", "Pipfile.lock must be a table, not a list", id="no object"),
        pytest.param(
            "poetry.lock", EXTRAS + "[[package]]\n", "poetry.lock: package[0]: name: is missing", id="no name"
        ),
        pytest.param(
            "poetry.lock",
            EXTRAS + '[[package]]\nname = "a"\n',
            "poetry.lock: package a: version: is missing",
            id="no version",
        ),
        pytest.param(
            "poetry.lock",
            POETRY.replace("files = []", 'files = [{file = "f"}]'),
            "poetry.lock: package a: files[0]: hash: is missing",
            id="no hash",
        ),
        pytest.param(
            "poetry.lock",
            POETRY + '[package.source]\ntype = "git"\nurl = "https://h/o/a"\n',
            "poetry.lock: package a: source: resolved_reference: is missing",
            id="no commit",
        ),
        pytest.param(
            "poetry.lock",
            POETRY.replace('"1"', '"1\\n-r /etc/passwd"'),
            "poetry.lock: package a: version: '1\\n-r /etc/passwd' contains a character",
            id="a version of two lines",
        ),
        pytest.param("poetry.lock", f"a = {'9' * 5000}", "poetry.lock is not valid TOML", id="a number without end"),
        pytest.param(
            "pyproject.toml", "[project]\nname = 1\n", "pyproject.toml: project: name: must be text", id="name"
        ),
        pytest.param(
            "requirements.txt", "-r a\0b", "requirements.txt:1: '-r a\\x00b' contains the character", id="null byte"
        ),
        pytest.param(
            "requirements.txt",
            f"./{LONG}",
            "requirements.txt:1: the path ./xxx",
            id="a local path that is too long for a name",
        ),
        pytest.param("requirements.txt", f"-c {LONG}", "requirements.txt:1: the path xxx", id="constraints, too long"),
        pytest.param("requirements.txt", f"-f {LONG}", "requirements.txt:1: the path xxx", id="links, too long"),
        pytest.param("requirements.txt", "a @ https://[x", "requirements.txt:1: 'https://[x' is not a URL", id="URL"),
        pytest.param(
            "requirements.txt", "-i https://[x", "requirements.txt:1: 'https://[x' is not the URL", id="index"
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + f'sdist = {{url = "http://[x]/a-1.tar.gz", hashes = {{sha256 = "{HEX}"}}}}\n',
            "pylock.toml is not a valid PEP 751 file: 'x' does not appear to be an IPv4 or IPv6 address in",
            id="a URL that is none",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + 'marker = "python_version === \'3"\n',
            "pylock.toml is not a valid PEP 751 file",
            id="a marker that is none",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + "marker = \"python_full_version === 'x y'\"\n"
            f'sdist = {{url = "https://h/a-1.tar.gz", hashes = {{sha256 = "{HEX}"}}}}\n',
            'pylock.toml: package a: marker python_full_version === "x y" compares what cannot be compared',
            id="a marker that compares with no version",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK.replace('name = "a"', ""),
            "pylock.toml is not a valid PEP 751 file",
            id="no name, PEP",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + f'archive = {{url = "https://h/..%2f..%2fa-1.tar.gz", hashes = {{sha256 = "{HEX}"}}}}\n',
            "package a: '../../a-1.tar.gz' is not the name of a file",
            id="a URL whose file has a path for a name",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + 'archive = {url = "https://h/a-1-py3-none-any.whl", hashes = {sha256 = "../../x"}}\n',
            "package a: '../../x' is not a sha256",
            id="a path for a hash",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + f'archive = {{url = "https://h/a.whl", hashes = {{sha256 = "{HEX}"}}}}\n',
            "a.whl is not the name of a wheel",
            id="a wheel without a version",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + 'vcs = {type = "git", url = "https://h/o/a", commit-id = "main"}\n',
            "package a: 'main' is not the id of a commit",
            id="a branch for a commit",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK
            + f'archive = {{url = "https://h/a-1.tar.gz", subdirectory = "../..", hashes = {{sha256 = "{HEX}"}}}}\n',
            "package a: '../..' leaves the project with ..",
            id="a directory outside of the archive",
        ),
        pytest.param(
            "package-lock.json",
            npm(resolved="file:a\0b"),
            "package-lock.json: node_modules/a: resolved: the path 'a\\x00b' has a null byte in it",
            id="npm, null byte",
        ),
        pytest.param(
            "package-lock.json",
            npm(resolved=f"file:{LONG}"),
            "package-lock.json: node_modules/a: resolved: the path xxx",
            id="npm, too long",
        ),
        pytest.param(
            "package-lock.json",
            npm(resolved="file:\ud800"),
            "package-lock.json cannot be read: 'utf-8' codec can't encode",
            id="npm, half of a pair",
        ),
        pytest.param("package-lock.json", "[" * 5000, "package-lock.json cannot be read: it is nested", id="npm, deep"),
        pytest.param(
            "LAMBDASMITH_TOOLCHAINS",
            json.dumps([{"name": "t", "url": "https://[x", "sha256": HEX}]),
            "[toolchain t] url: must be an https URL",
            id="toolchain",
        ),
        pytest.param(
            "config.ini",
            f"[toolchain t]\nurl = https://[x\nsha256 = {HEX}\nstrip = ²\n",
            "[toolchain t] url: must be an https URL without a login",
            id="toolchain in config.ini",
        ),
        pytest.param(
            "CloudFormation event",
            stack(ResponseURL="https://[x"),
            "ResponseURL: what it names is not a host of S3",
            id="ResponseURL",
        ),
        pytest.param(
            "CloudFormation event",
            stack(LambdasmithAttempt={"number": "abc"}),
            "LambdasmithAttempt: is the builder's own and has two numbers",
            id="attempt",
        ),
        *(
            pytest.param(
                "pylock.toml", PYLOCK + locked_at(key, url), f"the URL of a, {url!r}, {words}", id=f"{key} {url}"
            )
            for url, words in (
                ("https://[x]/a", "is not a URL"),
                ("https://h:99999/a", "is not a URL"),
                ("file:///a-1-py3-none-any.whl", "cannot be fetched: only https:// and http:// are supported"),
            )
            for key in ("[packages.wheels]", "packages.sdist", "packages.archive")
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + "index = 'https://[x/'\n" + locked_at("packages.sdist", "https://h/a"),
            "the URL of a, 'https://[x/', is not a URL",
            id="index that is no URL",
        ),
        pytest.param(
            "pylock.toml",
            PYLOCK + "[packages.vcs]\ntype = 'git'\nurl = 'https://[x/a'\ncommit-id = 'x'\n",
            "the URL of a, 'https://[x/a', is not a URL",
            id="repository that is no URL",
        ),
        pytest.param("git's index", "DIRC", "the git repository around it cannot be read", id="git index"),
        pytest.param("git's config", "[a$b]\n", "the git repository around it cannot be read", id="git config"),
        pytest.param(
            "build.json",
            json.dumps({**json.loads(samples.BUILD_JSON), "optional_libraries": ["\ud800"]}),
            "build.json:1: optional_libraries.0: '\\ud800' contains half of a surrogate pair",
            id="build file, half of a pair",
        ),
        pytest.param(
            "build.yaml",
            f"function: {{runtimes: [nodejs22.x], handler: a.b, build: {{node: '{LONG}'}}}}",
            "xxx is longer than a name (255 bytes)",
            id="build file, too long",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name: str, text: str, words: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    with pytest.raises(parser.errors) as caught:
        parser.read(text.encode(), tmp_path)
    assert words in "\n".join([str(caught.value), *getattr(caught.value, "problems", ())])


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/pyproject.toml").write_text("[project]\nname = 'local'\n")
    (tmp_path / "local/caf\udce9").write_text("")
    (tmp_path / "requirements.txt").write_text("./local\n")
    with pytest.raises(UnsafeSource, match="the name is not UTF-8"):
        read_inputs(["requirements.txt"], tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'"\\ud800"', id="half of a pair"),
        pytest.param(b'"\xed\xa0\x80"', id="half of a pair in bytes"),
        pytest.param("[" * 5000, id="too deep"),
        pytest.param('"a"'.encode("utf-16"), id="UTF-16"),
        pytest.param("9" * 5000, id="too many digits"),
        pytest.param("", id="nothing"),
    ],
)
def test_json_that_cannot_be_used_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


def test_json_is_read_as_it_is() -> None:
    assert read_json('\n{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
    assert read_json(b'\xef\xbb\xbf"\xc3\xa9"') == "é"

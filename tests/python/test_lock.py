"""Locks, from every kind of file, against an index of our own over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import (
    AuthenticationFailed,
    InvalidBuildFile,
    NoWheelForTarget,
    PathNotFound,
    RequirementNotFound,
    ResolutionFailed,
    SourceUnreachable,
)
from builder.python.pylock import Locked, LockedSource, Place, dumped, select
from builder.python.resolver import uv_binary
from builder.runtimes import Target
from tests.index import Index, serving
from tests.python.locking import FOREIGN, PYTHON_313, Lab, make_lab, own_target, source_files, versions
from tests.wheelhouse import make_sdist, make_wheel


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("index")
    for version in ("1.0", "1.1", "2.0"):
        make_wheel(
            root, "apple", version, files={"apple.py": version}, requires=("seed>=1", 'extra-core; extra == "x"')
        )
    make_wheel(root, "seed", "1.5", files={"seed.py": ""})
    make_wheel(root, "seed", "1.6", files={"seed.py": ""})
    make_wheel(root, "extra_core", "1.0", files={"extra_core.py": ""})
    make_wheel(root, "winonly", "1.0", files={"winonly.py": ""})
    make_wheel(
        root, "multi", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", files={"multi.py": ""}
    )
    make_wheel(root, "multi", "2.0", tag="cp313-cp313-manylinux_2_39_x86_64", files={"multi.py": "2"})
    make_wheel(root, "multi", "2.0", tag="cp312-cp312-macosx_11_0_arm64", files={"multi.py": "2"})
    make_wheel(root, "stable", "1.0", tag="cp39-abi3-manylinux_2_28_x86_64", files={"stable.py": ""})
    make_wheel(root, "stable", "1.0", tag="py3-none-any", files={"stable.py": "pure"})
    make_wheel(root, "onlypinned", "1.0", files={"a.py": ""})
    make_wheel(root, "withdrawn", "1.0", files={"withdrawn.py": ""})
    make_wheel(root, "withdrawn", "1.1", files={"withdrawn.py": ""})
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    for version, glibc in (("1.0", "2_17"), ("2.0", "2_39")):
        make_wheel(
            root, "heavy", version, tag=f"{own}-{own}-manylinux_{glibc}_{os.uname().machine}", files={"h.py": ""}
        )
    make_sdist(root, "heavy", "2.0", files=source_files("heavy", "2.0"))
    make_wheel(root, "elsewhere", "1.0", tag="cp313-cp313-win_amd64", files={"w.py": ""})
    make_wheel(root, "young", "1.0", tag=f"cp38-cp38-manylinux_2_17_{os.uname().machine}", files={"y.py": ""})
    make_sdist(root, "young", "1.0", files=source_files("young"))
    make_sdist(root, "plain", "3.0", files=source_files("plain", "3.0", requires=("seed",)))
    with serving(root) as running:
        running.yanked.add("withdrawn-1.1-py3-none-any.whl")
        yield running


@pytest.fixture
def lab(tmp_path: Path, index: Index) -> Lab:
    return make_lab(tmp_path, index)


def digest(index: Index, name: str) -> str:
    return hashlib.sha256((index.root / name).read_bytes()).hexdigest()


# --- requirements.txt -----------------------------------------------------------------------------------------------


def test_nested_files_constraints_extras_and_markers(lab: Lab) -> None:
    lab.write(
        {
            "requirements.txt": "-r more/base.txt\nwinonly; sys_platform == 'win32'\n",
            "more/base.txt": "-c ../limits.txt\n-r requirements-too.txt\napple[x]  # the fruit\n",
            "more/requirements-too.txt": "-r base.txt\nseed\n",
            "limits.txt": "apple<2\nseed==1.5\n",
        }
    )
    assert versions(lab.lock()) == {"apple": "1.1", "extra-core": "1.0", "seed": "1.5"}
    assert set(lab.inputs().contents) == {
        "requirements.txt",
        "more/base.txt",
        "more/requirements-too.txt",
        "limits.txt",
    }


def test_hashes_of_the_input_are_enforced(lab: Lab, index: Index) -> None:
    right = digest(index, "seed-1.6-py3-none-any.whl")
    lab.write({"requirements.txt": f"seed==1.6 \\\n    --hash=sha256:{right}\n"})
    assert [wheel.sha256 for wheel in lab.select().wheels] == [right]
    lab.write({"requirements.txt": f"seed==1.6 --hash=sha256:{'0' * 64}\n"})
    with pytest.raises(ResolutionFailed, match=r"requirements.txt:1: seed 1.6 has another hash") as caught:
        lab.lock()
    assert right in caught.value.message


def test_require_hashes_wants_one_for_everything(lab: Lab, index: Index) -> None:
    apple = digest(index, "apple-1.0-py3-none-any.whl")
    lab.write({"requirements.txt": f"--require-hashes\napple==1.0 --hash=sha256:{apple}\n"})
    with pytest.raises(ResolutionFailed, match=r"seed 1\.6 has no hash"):
        lab.lock()


def test_a_hash_limits_the_files_to_choose_from(lab: Lab, index: Index) -> None:
    pure = digest(index, "stable-1.0-py3-none-any.whl")
    lab.write({"requirements.txt": "stable\n"})
    assert lab.select().wheels[0].filename == "stable-1.0-cp39-abi3-manylinux_2_28_x86_64.whl"
    lab.write({"requirements.txt": f"stable==1.0 --hash=sha256:{pure}\n"})
    assert lab.select().wheels[0].filename == "stable-1.0-py3-none-any.whl"


def test_the_index_named_in_the_file_is_the_one_asked(tmp_path: Path, index: Index, lab: Lab) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_wheel(other, "private", "7.0", files={"private.py": ""})
    with serving(other) as second:
        lab.write({"requirements.txt": f"--extra-index-url {second.simple}\nprivate\nseed\n"})
        assert versions(lab.lock()) == {"private": "7.0", "seed": "1.6"}
        lab.write({"requirements.txt": f"--index-url {second.simple}\nseed\n"})
        with pytest.raises(RequirementNotFound):
            lab.lock()


def test_yanked_versions_are_passed_over(lab: Lab) -> None:
    lab.write({"requirements.txt": "withdrawn\n"})
    assert versions(lab.lock()) == {"withdrawn": "1.0"}


@pytest.mark.parametrize(
    "line",
    [
        "apple @ https://user:s3cret-token@127.0.0.1/apple-1.0.tar.gz",
        "--extra-index-url https://user:s3cret-token@127.0.0.1/simple",
        "git+https://s3cret-token@127.0.0.1/a/b.git",
        "https://127.0.0.1/a.whl?token=s3cret-token",
        "--index-url https://127.0.0.1/${s3cret}/simple",
    ],
)
def test_credentials_in_a_file_are_refused_and_not_shown(lab: Lab, line: str) -> None:
    lab.write({"requirements.txt": f"seed\n{line}\n"})
    with pytest.raises(InvalidBuildFile, match=r"requirements.txt:2: ") as caught:
        lab.lock()
    assert "s3cret-token" not in str(caught.value) + caught.value.hint
    assert caught.value.hint


# --- what fails, and how it is told -----------------------------------------------------------------------------------


def test_a_version_that_does_not_exist_names_those_that_do(lab: Lab) -> None:
    lab.write({"requirements.txt": "seed\napple==9.9\n"})
    with pytest.raises(RequirementNotFound, match=r"requirements.txt:2: apple==9.9 .*2\.0, 1\.1, 1\.0"):
        lab.lock()


def test_a_project_that_does_not_exist(lab: Lab) -> None:
    lab.write({"requirements.txt": "nobody-made-this\n"})
    with pytest.raises(RequirementNotFound, match=r"requirements.txt:1: nobody-made-this"):
        lab.lock()


@pytest.mark.parametrize("html_only", [False, True], ids=["json", "html"])
def test_no_fitting_wheel_says_what_there_is_and_what_is_accepted(lab: Lab, index: Index, html_only: bool) -> None:
    lab.write({"requirements.txt": "multi==2.0\n"})
    index.html_only = html_only
    try:
        with pytest.raises(NoWheelForTarget) as caught:
            lab.lock()
    finally:
        index.html_only = False
    message = caught.value.message
    assert "requirements.txt:1: multi==2.0 has no wheel for python3.13 on x86_64 (glibc 2.34)" in message
    assert "cp313-cp313-manylinux_2_39_x86_64, cp312-cp312-macosx_11_0_arm64" in message
    assert "manylinux_2_34_x86_64" in message
    assert "versions that fit: 1.0" in message


def test_an_older_version_with_a_wheel_is_taken_before_anything_is_built(lab: Lab) -> None:
    lab.write({"requirements.txt": "multi\n"})
    assert versions(lab.lock()) == {"multi": "1.0"}


def test_a_conflict_is_told_in_the_resolvers_words(lab: Lab) -> None:
    lab.write({"requirements.txt": "seed==1.6\nseed<1.6\n"})
    with pytest.raises(ResolutionFailed) as caught:
        lab.lock()
    assert "seed==1.6" in " ".join(caught.value.log_tail)


def test_an_index_that_does_not_answer(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.environment |= {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    lab.write({"requirements.txt": "seed\n"})
    with pytest.raises(SourceUnreachable):
        lab.lock()


def test_an_index_with_a_login(lab: Lab, index: Index) -> None:
    """Without it the error says so; with it, it is in no lock, no key and no error."""
    lab.write({"requirements.txt": "seed\n"})
    with_login = index.simple.replace("//", "//reader:s3cret-token@")
    index.login = ("reader", "s3cret-token")
    try:
        with pytest.raises(AuthenticationFailed, match="requires a login"):
            lab.lock()
        lab.environment["UV_DEFAULT_INDEX"] = with_login.replace("s3cret", "wr0ng")
        with pytest.raises(AuthenticationFailed) as caught:
            lab.lock()
        lab.environment["UV_DEFAULT_INDEX"] = with_login
        assert "s3cret-token" not in lab.lock()
        lab.write({"requirements.txt": "seed==77\n"})
        with pytest.raises(RequirementNotFound) as missing:
            lab.lock()
    finally:
        index.login = None
    for error in (caught.value, missing.value):
        told = f"{error.message} {error.hint} {error.log_tail}"
        assert "wr0ng-token" not in told
        assert "s3cret-token" not in told


def test_one_requirement_without_wheels_comes_from_source_the_others_do_not(lab: Lab) -> None:
    lab.write({"requirements.txt": "plain\napple<2\n"})
    selection = lab.select()
    assert [source.name for source in selection.sources] == ["plain"]
    assert [wheel.name for wheel in selection.wheels] == ["apple", "seed"]
    assert selection.sources[0].kind == "sdist"


def test_nothing_is_compiled_while_another_version_has_a_wheel(lab: Lab) -> None:
    """Unless asked for: compiling takes minutes and often fails."""
    target = own_target()
    lab.write({"requirements.txt": "heavy==2.0\n"})
    with pytest.raises(NoWheelForTarget, match=r"versions that fit: 1\.0") as caught:
        lab.lock(target=target)
    assert "--no-binary heavy" in caught.value.hint
    lab.write({"requirements.txt": "--no-binary heavy\nheavy==2.0\n"})
    assert [source.version for source in lab.select(target=target).sources] == ["2.0"]


def test_what_has_wheels_for_others_alone_is_built_here_and_refused_elsewhere(lab: Lab) -> None:
    lab.write({"requirements.txt": "young\n"})
    assert [source.name for source in lab.select(target=own_target()).sources] == ["young"]
    with pytest.raises(NoWheelForTarget, match="no version has a wheel that fits"):
        lab.lock(target=FOREIGN)


@pytest.mark.parametrize("target", [own_target(), FOREIGN], ids=["here", "elsewhere"])
def test_what_is_published_for_others_alone_and_without_source(lab: Lab, target: Target) -> None:
    lab.write({"requirements.txt": "elsewhere\n"})
    with pytest.raises(NoWheelForTarget, match=r"requirements.txt:1: elsewhere.* cp313-cp313-win_amd64") as caught:
        lab.lock(target=target)
    assert "`elsewhere; sys_platform == 'win32'`" in caught.value.hint


def test_only_binary_in_the_file_forbids_that(lab: Lab) -> None:
    lab.write({"requirements.txt": "--only-binary :all:\nplain\n"})
    with pytest.raises(NoWheelForTarget, match="published as source alone"):
        lab.lock()


# --- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_knows_everything_that_matters_and_no_secret(lab: Lab) -> None:
    lab.write({"requirements.txt": "-r a.txt\n-c c.txt\n-e ./pkg\n", "a.txt": "seed\n", "c.txt": "seed<2\n"})
    lab.write({f"pkg/{name}": text for name, text in source_files("pkg").items()})
    keys = [lab.key()]
    assert lab.key() == keys[0]
    for change in ({"a.txt": "seed>1\n"}, {"c.txt": "seed<3\n"}, {"pkg/pkg.py": "x = 1\n"}, {"pkg/new.py": ""}):
        lab.write(change)
        keys.append(lab.key())
    keys += [lab.key(target=FOREIGN), lab.key(index="https://127.0.0.1/simple"), lab.key(resolver="uv 2")]
    assert len(set(keys)) == len(keys)
    with_login = "https://user:password@127.0.0.1/simple"
    assert lab.key(index=with_login) == lab.key(index="https://127.0.0.1/simple")


def test_what_git_or_python_leave_behind_does_not_change_the_key(lab: Lab) -> None:
    lab.write({"requirements.txt": "-e ./pkg\n"})
    lab.write({f"pkg/{name}": text for name, text in source_files("pkg").items()})
    before = lab.key()
    lab.write({"pkg/__pycache__/x.pyc": "", "pkg/.git/HEAD": "", "pkg/pkg.egg-info/PKG-INFO": "", "pkg/x.pyc": ""})
    assert lab.key() == before


def test_reading_inputs_and_key_imports_nothing_heavy(lab: Lab) -> None:
    """A kept lock is found without them: that is what makes a warm build quick."""
    lab.write({"requirements.txt": "seed\n", "pyproject.toml": "[project]\nname='a'\ndependencies=['seed']\n"})
    code = (
        "import sys; from pathlib import Path; from builder.python.inputs import read_inputs\n"
        "from builder.python.lock import lock_key; from builder.runtimes import RUNTIMES, Target\n"
        "inputs = read_inputs(['requirements.txt', 'pyproject.toml'], Path(sys.argv[1]))\n"
        "lock_key(inputs, Target(runtime=RUNTIMES['python3.13'], architecture='arm64'), '', 'uv')\n"
        "print([name for name in ('packaging', 'requests', 'urllib3', 'dulwich', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(lab.root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- other files ------------------------------------------------------------------------------------------------------


def test_pyproject_with_extras_and_groups(lab: Lab) -> None:
    lab.write(
        {
            "pyproject.toml": "[project]\nname='app'\nversion='1'\ndependencies=['apple<2']\n"
            "[project.optional-dependencies]\nweb=['winonly']\nall=['app[web]', 'multi']\n"
            "[dependency-groups]\nbase=['seed==1.5']\nprod=[{include-group='base'}, 'stable']\n"
        }
    )
    assert versions(lab.lock("pyproject.toml")) == {"apple": "1.1", "seed": "1.6"}
    assert set(versions(lab.lock("pyproject.toml[all]"))) == {"apple", "seed", "winonly", "multi"}
    assert versions(lab.lock("pyproject.toml#group=prod")) == {"seed": "1.5", "stable": "1.0"}
    both = versions(lab.lock("pyproject.toml", "pyproject.toml#group=prod"))
    assert both == {"apple": "1.1", "seed": "1.5", "stable": "1.0"}
    with pytest.raises(InvalidBuildFile, match="no extra 'wob'"):
        lab.lock("pyproject.toml[wob]")
    with pytest.raises(InvalidBuildFile, match="no dependency group 'x'"):
        lab.lock("pyproject.toml#group=x")


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ("g=[{include-group='G'}]", "Cyclic dependency group"),
        ("g=[{include-group='x'}]", "group 'x' not found"),
        ("g=[3, 'not a', {x='y'}]", "item: 3; Expected semicolon .*: not a; Invalid dependency group item: {'x': 'y'}"),
        ("g='x'", "string rather than a list"),
        ("g_h=[]\nG-H=[]\ng=[]", "Duplicate dependency group names"),
    ],
)
def test_dependency_groups_that_cannot_be_read(lab: Lab, groups: str, problem: str) -> None:
    lab.write({"pyproject.toml": f"[project]\nname='app'\nversion='1'\n[dependency-groups]\n{groups}\n"})
    with pytest.raises(InvalidBuildFile, match=f"pyproject.toml: dependency-groups.g: .*{problem}"):
        lab.lock("pyproject.toml#group=g")


def test_uv_sources_of_a_pyproject_are_followed(lab: Lab) -> None:
    lab.write({f"libs/near/{name}": text for name, text in source_files("near").items()})
    lab.write(
        {
            "pyproject.toml": "[project]\nname='app'\nversion='1'\ndependencies=['near']\n"
            "[tool.uv.sources]\nnear={path='libs/near', editable=true}\n"
        }
    )
    (source,) = lab.select("pyproject.toml").sources
    assert (source.kind, source.path) == ("directory", "libs/near")


def test_uv_lock(lab: Lab, index: Index) -> None:
    lab.write({f"libs/near/{name}": text for name, text in source_files("near", requires=("seed<1.6",)).items()})
    lab.write(
        {
            "pyproject.toml": "[project]\nname='app'\nversion='1'\nrequires-python='>=3.11'\n"
            "dependencies=['apple==1.0', 'near', 'winonly; sys_platform==\"win32\"']\n"
            "[project.optional-dependencies]\nweb=['stable']\n[dependency-groups]\ndev=['multi==1.0']\n"
            "[tool.uv.sources]\nnear={path='libs/near'}\n"
        }
    )
    command = [
        uv_binary(""),
        "lock",
        "-q",
        "--no-config",
        "--default-index",
        index.simple,
        "--python",
        sys.executable,
    ]
    subprocess.run(command, cwd=lab.root, env=lab.environment, check=True)
    before = sorted(path.name for path in lab.root.iterdir())
    lock = lab.lock("uv.lock")
    assert versions(lock) == {"apple": "1.0", "near": "1.0", "seed": "1.5"} or versions(lock)["near"] is None
    assert [source.path for source in select(lock, PYTHON_313).sources] == ["libs/near"]
    assert "stable" in versions(lab.lock("uv.lock[web]"))
    assert set(versions(lab.lock("uv.lock#group=dev"))) == {"multi"}
    assert sorted(path.name for path in lab.root.iterdir()) == before
    key = lab.key("uv.lock")
    lab.write({"libs/near/near.py": "changed = 1\n"})
    assert lab.key("uv.lock") != key


def test_pylock_is_read_directly_and_markers_are_decided(lab: Lab, index: Index) -> None:
    wheels = {
        name: {"url": f"{index.url}/files/{name}", "hashes": {"sha256": digest(index, name)}}
        for name in ("seed-1.5-py3-none-any.whl", "winonly-1.0-py3-none-any.whl", "stable-1.0-py3-none-any.whl")
    }
    document: Any = {
        "lock-version": "1.0",
        "created-by": "somebody",
        "extras": ["web"],
        "packages": [
            {"name": "seed", "version": "1.5", "wheels": [wheels["seed-1.5-py3-none-any.whl"]]},
            {
                "name": "winonly",
                "version": "1.0",
                "marker": "sys_platform == 'win32'",
                "wheels": [wheels["winonly-1.0-py3-none-any.whl"]],
            },
            {
                "name": "stable",
                "version": "1.0",
                "marker": "'web' in extras",
                "wheels": [wheels["stable-1.0-py3-none-any.whl"]],
            },
        ],
    }
    lab.write({"pylock.toml": dumped(document)})
    before = index.requests.total()
    assert set(versions(lab.lock("pylock.toml"))) == {"seed"}
    assert set(versions(lab.lock("pylock.toml[web]"))) == {"seed", "stable"}
    assert index.requests.total() == before, "a lock is read, not resolved"


def test_requirements_without_a_requirement_are_a_lock_of_nothing(lab: Lab) -> None:
    lab.write({"requirements.txt": "# none yet\n"})
    lock = lab.lock()
    assert "\npackages = []\n" in lock
    assert versions(lock) == {}


def test_a_pylock_with_credentials_is_refused(lab: Lab) -> None:
    wheel: Place = {
        "url": "https://me:s3cret-token@127.0.0.1/seed-1.5-py3-none-any.whl",
        "hashes": {"sha256": "0" * 64},
    }
    package: Locked = {"name": "seed", "version": "1.5", "wheels": [wheel]}
    lab.write({"pylock.toml": dumped({"lock-version": "1.0", "created-by": "x", "packages": [package]})})
    with pytest.raises(ResolutionFailed) as caught:
        lab.lock("pylock.toml")
    assert "s3cret-token" not in str(caught.value)


def test_poetry_lock(lab: Lab, index: Index) -> None:
    def package(name: str, version: str, file: str, *, more: str = "") -> str:
        return (
            f'[[package]]\nname = "{name}"\nversion = "{version}"\noptional = false\ngroups = ["main"]\n{more}'
            f'files = [{{file = "{file}", hash = "sha256:{digest(index, file)}"}}]\n\n'
        )

    text = package("apple", "1.0", "apple-1.0-py3-none-any.whl") + package("seed", "1.5", "seed-1.5-py3-none-any.whl")
    text += package("winonly", "1.0", "winonly-1.0-py3-none-any.whl", more="markers = \"sys_platform == 'win32'\"\n")
    dev = package("stable", "1.0", "stable-1.0-py3-none-any.whl").replace('["main"]', '["dev"]')
    optional = package("withdrawn", "1.0", "withdrawn-1.0-py3-none-any.whl").replace(
        "optional = false", "optional = true"
    )
    text += dev + optional + '[extras]\nold = ["withdrawn"]\n\n[metadata]\nlock-version = "2.1"\n'
    lab.write({"poetry.lock": text})
    assert versions(lab.lock("poetry.lock")) == {"apple": "1.0", "seed": "1.5"}
    assert set(versions(lab.lock("poetry.lock[old]"))) == {"apple", "seed", "withdrawn"}
    assert set(versions(lab.lock("poetry.lock#group=dev"))) == {"stable"}
    lab.write({"poetry.lock": text.replace(digest(index, "seed-1.5-py3-none-any.whl"), "1" * 64)})
    with pytest.raises(ResolutionFailed, match=r"seed 1\.5 has another hash"):
        lab.lock("poetry.lock")


def test_pipfile_lock(lab: Lab, index: Index) -> None:
    def package(version: str, file: str, **more: str) -> dict[str, object]:
        return {"version": f"=={version}", "hashes": [f"sha256:{digest(index, file)}"], **more}

    document = {
        "_meta": {},
        "default": {
            "apple": package("1.0", "apple-1.0-py3-none-any.whl"),
            "seed": package("1.5", "seed-1.5-py3-none-any.whl"),
            "winonly": package("1.0", "winonly-1.0-py3-none-any.whl", markers="sys_platform == 'win32'"),
        },
        "develop": {"stable": package("1.0", "stable-1.0-py3-none-any.whl")},
    }
    lab.write({"Pipfile.lock": json.dumps(document)})
    assert versions(lab.lock("Pipfile.lock")) == {"apple": "1.0", "seed": "1.5"}
    assert set(versions(lab.lock("Pipfile.lock#group=dev"))) == {"stable"}
    with pytest.raises(InvalidBuildFile):
        lab.lock("Pipfile.lock#group=nope")


@pytest.mark.parametrize("entry", ["setup.cfg", "environment.yml", "requirements.txt[x]", "pyproject.toml[", "a#b"])
def test_other_files_are_refused(lab: Lab, entry: str) -> None:
    lab.write({"setup.cfg": "", "environment.yml": "", "requirements.txt": ""})
    with pytest.raises((InvalidBuildFile, PathNotFound)):
        lab.inputs(entry)


def test_a_lock_file_stands_alone(lab: Lab) -> None:
    lab.write({"pylock.toml": 'lock-version = "1.0"\n', "requirements.txt": "seed\n"})
    with pytest.raises(InvalidBuildFile, match="cannot be combined"):
        lab.inputs("pylock.toml", "requirements.txt")


@pytest.mark.parametrize("line", ["-r ../outside.txt", "-e ../outside", "./missing", "-r missing.txt", "-e ./empty"])
def test_places_outside_the_project_or_missing(lab: Lab, line: str) -> None:
    (lab.root.parent / "outside.txt").write_text("seed\n")
    shutil.copytree(lab.root, lab.root.parent / "outside")
    (lab.root / "empty").mkdir()
    lab.write({"requirements.txt": line + "\n"})
    with pytest.raises((InvalidBuildFile, PathNotFound), match=r"requirements.txt:1: "):
        lab.inputs()


def test_locks_are_text_of_equal_inputs(lab: Lab) -> None:
    lab.write({"requirements.txt": "apple\nplain\n-e ./pkg\n"})
    lab.write({f"pkg/{name}": text for name, text in source_files("pkg").items()})
    first = lab.lock()
    assert lab.lock() == first
    assert str(lab.workspace.root) not in first
    tomllib.loads(first)
    (directory,) = [one for one in select(first, PYTHON_313).sources if one.kind == "directory"]
    assert directory == LockedSource(
        name="pkg", version="", kind="directory", identity=lab.inputs().trees["pkg"], path="pkg"
    )

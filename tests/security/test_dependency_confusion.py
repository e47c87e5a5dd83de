"""Registering a private name in public gets nothing into a build."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import SourceUnreachable, WrongIndex
from builder.python.lock import lock_key, resolve
from builder.python.origins import named, rows
from builder.python.resolver import Resolver, indexes, public_index, uv_binary
from builder.secrets.indexes import Indexes
from builder.secrets.logins import IndexLogin
from builder.store.directory import DirectoryStore
from tests.index import Index, serving
from tests.python.locking import PYTHON_313, Lab, make_lab, own_target, source_files, versions
from tests.wheelhouse import make_sdist, make_wheel

LOGIN = ("reader", "pw-canary-19f0")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "private"
    root.mkdir()
    make_wheel(root, "corp_x", "1.0", files={"corp_x.py": "'ours'"}, requires=("seed",))
    with serving(root) as running:
        yield running


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "public"
    root.mkdir()
    make_wheel(root, "corp_x", "9.0", files={"corp_x.py": "'evil'"})
    make_wheel(root, "seed", "1.0", files={"seed.py": ""})
    with serving(root) as running:
        yield running


@pytest.fixture
def lab(tmp_path: Path, public: Index) -> Lab:
    """A project whose default index is the public one."""
    return make_lab(tmp_path / "lab", public)


def locked(lab: Lab, requirements: str, *entries: str) -> tuple[str, list[str]]:
    """The lock of a requirements file, and what is said of it."""
    lab.write({"requirements.txt": requirements})
    notes: list[str] = []
    scratch = lab.workspace.root / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    by = Resolver(root=lab.root, scratch=scratch, environment=lab.environment, timeout_s=60, indexes=lab.indexes,
                  note=notes.append)  # fmt: skip
    return resolve(lab.inputs(*entries), PYTHON_313, by), notes


def pinned(index: Index, only: str = "corp-*", **login: Any) -> Indexes:
    return Indexes(logins=(IndexLogin(name="corp", url=index.simple, only=only, **login),), read=lambda _: LOGIN)


ORDERS = {
    "private as --index-url, public as --extra-index-url": "--index-url {private}\n--extra-index-url {public}\n",
    "private as --extra-index-url, public as the default": "--extra-index-url {private}/\n",
    "both as --extra-index-url": "--extra-index-url {private}\n--extra-index-url {public}\n",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_first_index_that_the_project_writes_has_the_name(
    lab: Lab, private: Index, public: Index, order: str
) -> None:
    lock, notes = locked(lab, order.format(private=private.simple, public=public.simple) + "corp-x\n")
    assert versions(lock) == {"corp-x": "1.0", "seed": "1.0"}
    assert rows(lock) == [
        {"name": "corp-x", "version": "1.0", "index": named(private.simple)},
        {"name": "seed", "version": "1.0", "index": named(public.simple)},
    ]
    (note,) = notes
    assert note.startswith(f"{named(private.simple)} and {named(public.simple)} both have corp-x: taken from")


def test_an_index_with_a_login_comes_before_one_without_wherever_it_is_written(
    lab: Lab, private: Index, public: Index
) -> None:
    private.login = LOGIN
    lab.indexes = Indexes(logins=(IndexLogin(name="corp", url=private.simple, password="ssm:x"),), read=lambda _: LOGIN)
    lock, notes = locked(lab, f"--index-url {public.simple}\n--extra-index-url {private.simple}\ncorp-x\n")
    assert versions(lock) == {"corp-x": "1.0", "seed": "1.0"}
    assert len(notes) == 1
    assert LOGIN[1] not in lock + notes[0]


def test_the_public_index_comes_last_wherever_it_is_written(lab: Lab, private: Index) -> None:
    def order(text: str) -> list[str]:
        lab.write({"requirements.txt": text})
        by = Resolver(root=lab.root, scratch=lab.root, environment=lab.environment, timeout_s=9, indexes=lab.indexes)
        return indexes(lab.inputs(), by)

    by = Resolver(root=lab.root, scratch=lab.root, environment=lab.environment, timeout_s=9)
    public, default = public_index(by), lab.environment["UV_DEFAULT_INDEX"]
    assert order(f"--index-url {public}\n--extra-index-url https://a/simple\n") == ["https://a/simple", public]
    assert order(f"--extra-index-url {public}\n--extra-index-url https://a/simple\n") == [
        "https://a/simple",
        default,
        public,
    ]
    assert order("--index-url https://b/s\n--extra-index-url https://a/s/\n--extra-index-url https://b/s/\n") == [
        "https://b/s",
        "https://a/s/",
    ]
    lab.indexes = pinned(private)
    assert order(f"--extra-index-url https://a/s\n--extra-index-url {private.simple}/") == [
        f"{private.simple}/",
        "https://a/s",
        default,
    ]
    assert order("--no-index\n--find-links https://x/\n--extra-index-url https://a/s\n") == []


def test_one_index_alone_is_asked_for_nothing_more_and_named(lab: Lab, public: Index) -> None:
    lock, notes = locked(lab, "seed\n")
    assert rows(lock) == [{"name": "seed", "version": "1.0", "index": named(public.simple)}]
    assert notes == []
    assert public.requests["/simple/seed/"] == 1


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_a_default_with_credentials_in_the_environment_is_used_and_told_to_no_one(
    lab: Lab, private: Index, variable: str
) -> None:
    private.login = LOGIN
    make_wheel(private.root, "seed", "1.0", files={"seed.py": ""})
    del lab.environment["UV_DEFAULT_INDEX"]
    lab.environment[variable] = private.simple.replace("://", "://{}:{}@".format(*LOGIN))
    lock, notes = locked(lab, "corp-x\n")
    assert [row["index"] for row in rows(lock)] == [named(private.simple)] * 2
    assert LOGIN[1] not in lock + "".join(notes)


def test_a_second_index_that_does_not_answer_ends_the_build(lab: Lab, private: Index) -> None:
    text = f"--index-url {private.simple}\n--extra-index-url http://127.0.0.1:9/simple\ncorp-x\n"
    make_wheel(private.root, "seed", "1.0", files={"seed.py": ""})
    with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1:9/simple does not say whether it has"):
        locked(lab, text)


# --- names that are one index's alone -------------------------------------------------------------------------------


def test_a_pinned_name_from_elsewhere_is_an_error_that_says_all(lab: Lab, private: Index, public: Index) -> None:
    lab.indexes = pinned(private)
    with pytest.raises(WrongIndex) as caught:
        locked(lab, "Corp.X\nseed\n")
    error = caught.value
    assert error.code == "wrong_index"
    assert error.problems == (
        f"corp-x 9.0 comes from {named(public.simple)}, but [index corp] only = corp-* says that it comes only from "
        f"{named(private.simple)}",
    )
    assert "--extra-index-url" in error.hint


def test_a_pinned_name_from_its_index_is_none(lab: Lab, private: Index) -> None:
    private.login = LOGIN
    lab.indexes = pinned(private, username="reader", password="ssm:x")
    lock, _ = locked(lab, f"--extra-index-url {private.simple}\ncorp-x\n")
    assert versions(lock) == {"corp-x": "1.0", "seed": "1.0"}


@pytest.mark.parametrize("kind", ["pylock", "a claim in pylock", "a URL", "poetry"])
def test_no_lock_of_the_project_gets_around_it(lab: Lab, private: Index, public: Index, kind: str) -> None:
    evil = next(path for path in public.root.iterdir() if path.name.startswith("corp_x"))
    sha256, url = hashlib.sha256(evil.read_bytes()).hexdigest(), f"{public.url}/files/{evil.name}"
    claim = f'index = "{private.simple}"\n' if "claim" in kind else ""
    pylock = f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "corp-x"\nversion = "9.0"\n{claim}'
    pylock += f'[[packages.wheels]]\nurl = "{url}"\nhashes = {{sha256 = "{sha256}"}}\n'
    poetry = (
        '[[package]]\nname = "corp-x"\nversion = "9.0"\noptional = false\npython-versions = "*"\ngroups = ["main"]\n'
    )
    poetry += f'files = [{{file = "{evil.name}", hash = "sha256:{sha256}"}}]\n[metadata]\nlock-version = "2.1"\n'
    files = {"a URL": {}, "poetry": {"poetry.lock": poetry}}.get(kind, {"pylock.toml": pylock})
    lab.write({**files, "pyproject.toml": '[project]\nname = "p"\nversion = "1"\ndependencies = ["corp-x"]\n'})
    text, entries = (f"corp-x @ {url}\n", ()) if kind == "a URL" else ("", tuple(files))
    lab.indexes = pinned(private)
    with pytest.raises(WrongIndex, match=r"corp-x 9\.0 comes from .* \[index corp\] only = corp-\*"):
        locked(lab, text, *entries)


def test_no_uv_lock_gets_around_it(lab: Lab, private: Index, public: Index) -> None:
    project = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["corp-x"]\n'
    lab.write({"pyproject.toml": f'{project}[[tool.uv.index]]\nurl = "{public.simple}"\ndefault = true\n'})
    uv = uv_binary(lab.environment["PATH"])
    subprocess.run([uv, "lock", "--quiet"], cwd=lab.root, env=lab.environment, check=True)
    assert rows(locked(lab, "", "uv.lock")[0]) == [{"name": "corp-x", "version": "9.0", "index": named(public.simple)}]
    lab.indexes = pinned(private)
    with pytest.raises(WrongIndex, match=r"corp-x 9\.0 comes from .* \[index corp\] only = corp-\*"):
        locked(lab, "", "uv.lock")


def test_a_name_that_the_project_has_itself_is_its_own_choice(lab: Lab, private: Index) -> None:
    lab.indexes = pinned(private)
    lab.write({f"corp-y/{name}": content for name, content in source_files("corp_y").items()})
    lock, _ = locked(lab, "./corp-y\n")
    assert [(row["name"], row["index"]) for row in rows(lock)] == [("corp-y", None)]


def test_a_source_distribution_is_pinned_too(lab: Lab, private: Index, public: Index) -> None:
    make_sdist(public.root, "corp_z", files=source_files("corp_z"))
    lab.indexes = pinned(private)
    with pytest.raises(WrongIndex, match="corp-z 1"):
        locked(lab, "corp-z\n")


def test_what_a_build_requires_comes_from_the_index_whose_name_it_is(lab: Lab, private: Index, public: Index) -> None:
    make_wheel(private.root, "corp_build", "1.0", files={"corp_build.py": "WHOSE = 'ours'"})
    make_wheel(public.root, "corp_build", "2.0", files={"corp_build.py": "WHOSE = 'theirs'"})
    files = source_files("spy")
    files["pyproject.toml"] = files["pyproject.toml"].replace("requires = []", 'requires = ["corp-build"]')
    files["backend.py"] += "\n_honest = build_wheel\ndef build_wheel(*given):\n    import corp_build\n"
    files["backend.py"] += "    open(corp_build.WHOSE + '.py', 'w').close()\n    return _honest(*given)\n"

    def whose() -> set[str]:
        shutil.rmtree(lab.root / "spy", ignore_errors=True)
        lab.write({f"spy/{name}": content for name, content in files.items()} | {"requirements.txt": "./spy\n"})
        with zipfile.ZipFile(lab.wheels(target=own_target())["spy"]) as wheel:
            return {name.removesuffix(".py") for name in wheel.namelist()} & {"ours", "theirs"}

    assert whose() == {"theirs"}
    lab.indexes, lab.store = pinned(private), DirectoryStore(lab.root.parent / "another store")
    assert whose() == {"ours"}


def test_other_rules_make_another_lock(lab: Lab, private: Index) -> None:
    lab.write({"requirements.txt": "seed\n"})
    rules = ("", pinned(private).pins, pinned(private, "corp-x").pins)
    assert len({lock_key(lab.inputs(), PYTHON_313, "", "uv 1", pins) for pins in rules}) == 3


def test_a_claim_that_does_not_fit_the_url_is_not_repeated(lab: Lab, private: Index, public: Index) -> None:
    lab.write({"pylock.toml": locked(lab, "seed\n")[0].replace(public.simple, private.simple)})
    lock, _ = locked(lab, "", "pylock.toml")
    assert "index" not in tomllib.loads(lock)["packages"][0]
    assert rows(lock)[0]["index"] == public.url.removeprefix("http://")

"""What needs a login, in every form that people write: and the login is nowhere but where it belongs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from builder.errors import AuthenticationFailed, InvalidBuildFile, PathNotFound
from builder.network.access import GitCredentials
from builder.python import gateway
from builder.python.lock import lock_key
from builder.secrets.indexes import Indexes, Login
from builder.secrets.logins import IndexLogin
from localaws.testing import git_server
from tests.index import Index, serving
from tests.python.locking import BACKEND, Lab, make_lab, own_target, source_files
from tests.wheelhouse import make_sdist, make_wheel

PASSWORD = "pw-canary-5d0c1b-index"
TOKEN = "tok-canary-77aa10-git"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """A private index."""
    root = tmp_path / "index"
    root.mkdir()
    make_wheel(root, "apple", "1.0", files={"apple.py": ""}, requires=("seed",))
    make_wheel(root, "seed", "1.5", files={"seed.py": ""})
    with serving(root) as index:
        index.login = ("reader", PASSWORD)
        yield index


def logins(*indexes: Index, password: str = PASSWORD) -> Indexes:
    found = tuple(IndexLogin(name=f"corp{number}", url=each.simple) for number, each in enumerate(indexes))
    return Indexes(logins=found, read=lambda _: ("reader", password))


@pytest.fixture
def lab(tmp_path: Path, index: Index) -> Lab:
    lab = make_lab(tmp_path, index)
    lab.indexes = logins(index)
    lab.write({"requirements.txt": "apple\n"})
    return lab


def assert_nowhere(lab: Lab, *texts: str) -> None:
    """The password is in none of the texts, and in no file that is left."""
    for text in texts:
        assert PASSWORD not in text
    for path in lab.workspace.root.parent.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("html_only", [False, True], ids=["json", "html"])
@pytest.mark.parametrize("named", ["by the configuration", "by --index-url", "by --extra-index-url"])
def test_a_private_index(lab: Lab, index: Index, named: str, html_only: bool) -> None:
    index.html_only = html_only
    if named != "by the configuration":
        option = named.removeprefix("by ")
        lab.environment["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple" if "url" in option else ""
        lab.write({"requirements.txt": f"{option} {index.simple}/\napple\n"})
        if "extra" in option:
            lab.environment["UV_DEFAULT_INDEX"] = index.simple
    lock = lab.lock()
    assert f"{index.url}/files/apple-1.0-py3-none-any.whl" in lock
    assert gateway.__name__ not in lock
    assert sorted(lab.wheels()) == ["apple", "seed"]
    assert_nowhere(lab, lock)


def test_what_is_built_from_source_gets_its_tools_from_the_private_index_and_never_the_login(
    lab: Lab, index: Index
) -> None:
    spying = BACKEND.format(name="spy", version="1.0", requires=()) + SPY
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["seed"]\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": spying,
        "spy.py": "",
    }
    make_sdist(index.root, "spy", "1.0", files=files)
    lab.write({"requirements.txt": "spy\n"})
    wheels = lab.wheels(target=own_target())
    shutil.unpack_archive(wheels["spy"], lab.root / "out", "zip")
    seen = (lab.root / "out/seen.txt").read_text()
    assert "environ of " in seen, "the spy saw nothing"
    assert_nowhere(lab, seen)


# Writes what it can see of itself and of every process above and beside it into the wheel.
SPY = """
_honest = build_wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    import glob
    import seed  # the build requirement is there
    lines = []
    for place in glob.glob("/proc/[0-9]*"):
        for what in ("environ", "cmdline"):
            try:
                with open(place + "/" + what, "rb") as file:
                    lines.append(what + " of " + place + ": " + repr(file.read()))
            except OSError as error:
                lines.append(what + " of " + place + ": " + str(error))
    with open("seen.py", "w") as file:
        file.write("")
    open("tell", "w").close()
    os.environ["SEEN"] = "\\n".join(lines)
    return _honest(directory, config_settings, metadata_directory)
"""


def test_a_wrong_password_names_the_index_and_not_the_password(lab: Lab, index: Index) -> None:
    lab.indexes = logins(index, password=PASSWORD + "-old")
    with pytest.raises(
        AuthenticationFailed, match=r"requirements.txt: 127.0.0.1:\d+ refuses the login of \[index"
    ) as e:
        lab.lock()
    assert_nowhere(lab, str(e.value), e.value.hint, "".join(e.value.log_tail))
    lab.indexes = Indexes()
    with pytest.raises(AuthenticationFailed, match="requires a login") as e:
        lab.lock()
    assert "[index NAME]" in e.value.hint


def test_a_login_stays_with_its_host(lab: Lab, index: Index, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in index.root.iterdir():
        shutil.copy(path, elsewhere)
    with serving(elsewhere) as other:
        for name in ("apple-1.0", "seed-1.5"):
            wheel = f"/files/{name}-py3-none-any.whl"
            index.redirects[wheel] = other.url + wheel
            index.redirects[wheel + ".metadata"] = other.url + wheel + ".metadata"
        index.redirects["/simple/apple/"] = f"{index.url}/simple/apple/?again"
        index.redirects["/simple/seed/"] = f"{other.url}/simple/seed/"
        lab.lock()
        lab.wheels()
        assert other.requests
        assert other.logins_seen == {""}
        assert "" not in index.logins_seen


def test_of_two_indexes_on_one_host_each_gets_its_own_login(lab: Lab) -> None:
    named = tuple(IndexLogin(name=name, url=f"https://host/api/{name}/simple") for name in ("one", "two"))
    both = Indexes(logins=named, read=lambda index: (index.name, "p"))
    assert both.login("https://host/api/two/files/x.whl") == Login(user="two", password="p")
    assert both.login("https://HOST:443/api/one/simple/x/") == Login(user="one", password="p")
    assert both.login("https://host/elsewhere") == Login(user="one", password="p")
    for url in ("http://host/api/one/", "https://host:8443/api/one/", "https://host.evil/api/one/", "file:///api/one"):
        assert both.login(url) is None


def test_the_gateway_gives_nothing_but_pages_and_what_they_name(index: Index, tmp_path: Path) -> None:
    with gateway.opened(logins(index), tmp_path) as here:
        base = urlsplit(here.address(index.simple))
        assert here.address("https://other.example/simple") == "https://other.example/simple"

        def ask(path: str, method: str = "GET") -> tuple[int, str]:
            connection = http.client.HTTPConnection(base.netloc, timeout=10)
            with contextlib.closing(connection):
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode("latin-1")

        word = base.path.split("/")[1]
        assert ask(f"/{word}/f/0/apple-1.0-py3-none-any.whl")[0] == 404, "no page has named it yet"
        status, page = ask(f"{base.path}apple/")
        assert status == 200
        assert PASSWORD not in page
        assert ask(f"/{word}/f/0/apple-1.0-py3-none-any.whl")[0] == 200
        assert ask(f"/{word}/f/0/apple-1.0-py3-none-any.whl.metadata")[0] == 200
        assert ask(f"{base.path}nothing/")[0] == 404
        refused = (f"{base.path}../files/x", f"{base.path}apple/../../files", "/", f"/{word}/", f"/x{base.path}apple/")
        assert {ask(path)[0] for path in (*refused, f"/{word}/i/9/apple/", f"/{word}/f/99/x")} == {404}
        assert ask(base.path, "POST")[0] == 501
        assert here.real(f"see {base.geturl()}apple/ and") == f"see {index.simple}/apple/ and"
    with pytest.raises(ConnectionError):
        ask(f"{base.path}apple/")


def test_a_directory_of_wheels_is_an_index(lab: Lab) -> None:
    (lab.root / "deps/wheels").mkdir(parents=True)
    make_wheel(lab.root / "deps/wheels", "apple", "9.0", files={"apple.py": "mine"}, requires=("pear",))
    make_sdist(lab.root / "deps/wheels", "pear", "2.0", files=source_files("pear", "2.0"))
    lab.write({"requirements.txt": "-r deps/requirements.txt\n"})
    lab.write({"deps/requirements.txt": "--no-index\n--find-links ./wheels\napple\n"})
    target = own_target()
    assert sorted(lab.wheels(target=target)) == ["apple", "pear"]
    lock = lab.lock(target=target)
    assert str(lab.root) not in lock
    assert "deps/wheels/apple-9.0-py3-none-any.whl" in lock
    before = lock_key(lab.inputs(), target, "", "uv")
    make_wheel(lab.root / "deps/wheels", "apple", "9.1", files={"apple.py": "newer"})
    assert lock_key(lab.inputs(), target, "", "uv") != before, "a wheel was added, and the old lock would be taken"


def test_a_page_of_links_with_a_login(lab: Lab, index: Index) -> None:
    index.html_only = True
    lab.environment["UV_DEFAULT_INDEX"] = ""
    lab.write({"requirements.txt": f"--no-index\n--find-links {index.simple}/seed/\nseed\n"})
    lock = lab.lock()
    assert f"{index.url}/files/seed-1.5-py3-none-any.whl" in lock
    assert sorted(lab.wheels()) == ["seed"]
    assert_nowhere(lab, lock)


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("--find-links ../outside", InvalidBuildFile, "outside the repository"),
        ("--find-links /etc", InvalidBuildFile, "absolute"),
        ("--find-links missing", PathNotFound, "requirements.txt:1: missing is not a directory"),
        ("--find-links ftp://h/x", InvalidBuildFile, "is not the URL"),
        (f"--index-url https://reader:{PASSWORD}@h/simple", InvalidBuildFile, "a URL has credentials"),
        (f"--find-links https://reader:{PASSWORD}@h/simple", InvalidBuildFile, "a URL has credentials"),
    ],
)
def test_links_that_cannot_be_used(lab: Lab, line: str, error: type[Exception], says: str) -> None:
    lab.write({"requirements.txt": f"{line}\n"})
    with pytest.raises(error, match=says) as caught:
        lab.inputs()
    assert PASSWORD not in str(caught.value)
    if "credentials" in says:
        assert "[index NAME]" in getattr(caught.value, "hint", "")


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A private git server: its URL, and the directory of its repositories."""
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    root = tmp_path / "served"
    root.mkdir()
    with git_server(root, TOKEN) as server:
        yield server.url, root


def push(root: Path, name: str, files: dict[str, str], *, tag: str = "") -> None:
    work = root.parent / f"work-{name}"
    work.mkdir()
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(content)
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*who, "commit", "-q", "-m", "x"],
        *([["tag", tag]] if tag else []),
        ["clone", "-q", "--bare", ".", str(root / f"{name}.git")],
    ):
        subprocess.run(["git", *command], cwd=work, env=environment, check=True)


def test_a_private_git_dependency_of_a_private_git_dependency(lab: Lab, forge: tuple[str, Path]) -> None:
    url, served = forge
    own = source_files("fruit", "3.0", requires=(f"kernel @ git+{url}/kernel.git@v1.2#subdirectory=py", "seed"))
    push(served, "fruit", own, tag="v3.0")
    below = {f"py/{name}": text for name, text in source_files("kernel", "1.2").items()}
    push(served, "kernel", below, tag="v1.2")
    lab.credentials = (GitCredentials(username="me", token=TOKEN, base=url),)
    # As on Lambda, where there is no git.
    tools = lab.root.parent / "bin"
    tools.mkdir()
    lab.environment["PATH"] = str(tools)
    lab.write({"requirements.txt": f"fruit @ git+{url}/fruit.git@v3.0\n"})
    lock = lab.lock(target=own_target())
    assert f'url = "{url}/kernel.git"' in lock
    assert sorted(lab.wheels(target=own_target())) == ["fruit", "kernel", "seed"]
    for text in (lock, json.dumps(lab.environment)):
        assert TOKEN not in text
    for path in lab.workspace.root.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path

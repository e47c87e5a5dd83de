"""An index that has trouble: told as such, with its URL and what came, and not at the first mistake."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import (
    LambdasmithError,
    RequirementNotFound,
    ResolutionFailed,
    SourceUnreachable,
)
from builder.python.pylock import LockedWheel
from builder.python.wheels import download
from builder.secrets.indexes import Indexes
from builder.secrets.logins import IndexLogin
from tests.index import Fault, Index, serving
from tests.python.locking import Lab, make_lab
from tests.wheelhouse import make_wheel

JSON = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
PAGE = b"<!DOCTYPE html><html><body>" + b'<a href="/files/six-1.0-py3-none-any.whl">six</a>' * 50
NAME = "six-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    (tmp_path / "index").mkdir()
    make_wheel(tmp_path / "index", "six", files={"six.py": "x = 1\n" * 1000})
    with serving(tmp_path / "index") as running:
        yield running


@pytest.fixture
def lab(tmp_path: Path, index: Index) -> Lab:
    made = make_lab(tmp_path / "lab", index)
    made.write({"requirements.txt": "six\n"})
    made.environment["UV_HTTP_RETRIES"] = "0"  # which takes it ten seconds
    return made


FAULTS = {
    "no-files": (Fault(body=b"<!DOCTYPE html><html><body></body></html>"), "answers with a page without files"),
    "no-files-json": (
        Fault(headers=JSON, body=b'{"meta":{"api-version":"1.1"},"name":"six","files":[]}'),
        "answers with a page without files",
    ),
    "sign-in": (Fault(body=b"<html><form>please sign in</form></html>"), "answers with a page without files"),
    "cut": (Fault(body=PAGE, cut=True), "the answer broke off after 1,238 bytes, 1,239 are missing"),
    "loop": (Fault(status=302, headers={"Location": "/simple/six/"}), "too many redirects"),
    "garbage": (
        Fault(headers=JSON, body=b'{"files": nonsense'),
        "JSON that is not a page of an index: '{\"files\": nonsense'",
    ),
    "list": (Fault(headers=JSON, body=b"[]"), "JSON that is not a page of an index: '[]'"),
    "entries": (Fault(headers=JSON, body=b'{"files": [7]}'), "JSON that is not a page of an index"),
    "text": (Fault(headers={"Content-Type": "text/plain"}, body=b"six"), "answers with text/plain, not with a page"),
    "no type": (Fault(headers={"Content-Type": ""}, body=b"<html>"), "answers with no Content-Type, not with a page"),
    "gzip": (Fault(headers={"Content-Encoding": "gzip"}, body=b"no gzip"), "not compressed in the way it says"),
    "503": (Fault(status=503), "the server answers 503"),
    "500": (Fault(status=500), "the server answers 500"),
    "drop": (Fault(drop=True), "the connection was closed without an answer"),
}


@pytest.mark.parametrize("private", [False, True], ids=["open", "with-login"])
@pytest.mark.parametrize("what", FAULTS)
def test_an_index_in_trouble_is_no_missing_requirement(index: Index, lab: Lab, what: str, private: bool) -> None:
    fault, words = FAULTS[what]
    if private:  # by way of the gateway
        index.login = ("u", "p4ssw0rd")
        login = IndexLogin(name="corp", url=index.simple, username="u", password="secretsmanager:corp")
        lab.indexes = Indexes(logins=(login,), read=lambda _: ("u", "p4ssw0rd"))
    index.faults["/simple/six/"] = fault
    with pytest.raises(SourceUnreachable) as caught:
        lab.lock()
    assert caught.value.message.startswith("requirements.txt:1: the package index is in trouble: ")
    assert f"{index.simple}/six/" in caught.value.message
    assert words in caught.value.message
    assert caught.value.retryable
    assert "try again" in caught.value.hint
    assert not any(
        object_ in caught.value.message for object_ in ("Pool(", "Connection(", "IncompleteRead", "object at")
    )


@pytest.mark.parametrize("place", ["ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_a_page_with_files_that_nobody_can_fetch_is_trouble_too(index: Index, lab: Lab, place: str) -> None:
    page = f'<a href="{place}/{NAME}">{NAME}</a>'.encode()
    index.faults["/simple/six/"] = Fault(body=page)
    with pytest.raises(SourceUnreachable) as caught:
        lab.lock()
    assert caught.value.message == (
        f"requirements.txt: the package index names {place}/{NAME}, which cannot be fetched: "
        "only https:// and http:// are supported"
    )


def test_an_index_that_asks_to_wait_is_quoted(index: Index, lab: Lab) -> None:
    index.faults["/simple/six/"] = Fault(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(SourceUnreachable, match="answers 429") as caught:
        lab.lock()
    assert caught.value.hint == "the server asks to wait: Retry-After is '3600'"


def test_metadata_that_cannot_be_had_is_trouble_too(index: Index, lab: Lab) -> None:
    index.faults[f"/files/{NAME}.metadata"] = Fault(status=503)
    with pytest.raises(SourceUnreachable, match=f"{NAME}.metadata: the server answers 503"):
        lab.lock()


def test_what_an_index_does_not_know_is_still_a_missing_requirement(index: Index, lab: Lab) -> None:
    lab.write({"requirements.txt": "sixx\n"})
    with pytest.raises(RequirementNotFound, match=r"requirements\.txt:1: sixx does not exist in the package index"):
        lab.lock()
    lab.write({"requirements.txt": f"--index-url {index.url}/wrong\nsix\n"})
    with pytest.raises(RequirementNotFound) as caught:
        lab.lock()
    assert caught.value.message == f"requirements.txt:2: six does not exist in the package index {index.url}/wrong"
    assert caught.value.hint == "check the spelling and the version, and the address of the index"
    lab.write({"requirements.txt": "six==9\n"})
    with pytest.raises(RequirementNotFound, match=r"six==9 does not exist in the package index; the index has 1\.0"):
        lab.lock()


def test_of_several_indexes_the_one_in_trouble_is_named(index: Index, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    make_wheel(tmp_path / "other", "more", files={"more.py": "x"})
    with serving(tmp_path / "other") as other:
        good = "--index-url {}\n--extra-index-url {}\nsix\n"
        lab.write({"requirements.txt": good.format(index.simple, other.simple)})
        lock = lab.lock()
        # Who does not know a name may have an empty page for it, and is asked again before a deploy fails.
        other.faults["/simple/six/"] = Fault(body=b"<html></html>")
        assert lab.lock() == lock
        asked = other.requests["/simple/six/"]
        other.faults["/simple/six/"] = Fault(drop=True, times=asked + 2)
        assert lab.lock() == lock
        assert other.requests["/simple/six/"] == asked + 3
        # Past an index without an answer nothing is taken: the name may be its own.
        other.faults["/simple/six/"] = Fault(body=b"<html></html>")
        lab.write({"requirements.txt": good.format(other.simple, index.simple)})
        with pytest.raises(SourceUnreachable, match=f"{other.simple}/six/ answers with a page without files"):
            lab.lock()


# --- files ------------------------------------------------------------------------------------------------------------


def locked(index: Index) -> LockedWheel:
    sha256 = hashlib.sha256((index.root / NAME).read_bytes()).hexdigest()
    return LockedWheel(name="six", version="1.0", filename=NAME, url=f"{index.url}/files/{NAME}", sha256=sha256)


ONCE = {
    "503": Fault(status=503),
    "429": Fault(status=429, headers={"Retry-After": "0"}),
    "cut": Fault(cut=True),
    "drop": Fault(drop=True),
    "wrong": Fault(body=b"something else"),
    "gzip": Fault(headers={"Content-Encoding": "gzip"}, body=b"no gzip"),
}


@pytest.mark.parametrize("what", ONCE)
def test_one_bad_download_is_tried_again(index: Index, tmp_path: Path, what: str) -> None:
    wheel = locked(index)
    index.faults[f"/files/{NAME}"] = replace(ONCE[what], times=1)
    path = download([wheel], tmp_path / "cache")[wheel.sha256]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == wheel.sha256
    assert index.requests[f"/files/{NAME}"] == 2


@pytest.mark.parametrize(
    ("fault", "error", "words", "tries"),
    [
        (Fault(status=503), SourceUnreachable, r"the server answers 503 \(tried 5 times", 5),
        (Fault(cut=True), SourceUnreachable, "the answer broke off after", 5),
        (Fault(drop=True), SourceUnreachable, "closed without an answer", 5),
        (Fault(status=404), SourceUnreachable, "answers 404", 1),
        (Fault(status=429, headers={"Retry-After": "3600"}), SourceUnreachable, "answers 429", 1),
        (Fault(body=b"something else"), ResolutionFailed, "has sha256 .*, the lock says", 2),
        (Fault(status=302, headers={"Location": f"/files/{NAME}"}), SourceUnreachable, "too many redirects", 31),
    ],
    ids=["503", "cut", "drop", "404", "wait", "wrong", "loop"],
)
def test_a_download_that_stays_bad_names_its_url_and_what_came(
    index: Index, tmp_path: Path, fault: Fault, error: type[LambdasmithError], words: str, tries: int
) -> None:
    wheel = locked(index)
    index.faults[f"/files/{NAME}"] = fault
    with pytest.raises(error, match=words) as caught:
        download([wheel], tmp_path / "cache")
    assert NAME in caught.value.message
    assert wheel.url in caught.value.message
    assert index.requests[f"/files/{NAME}"] == tries
    assert not [path for path in tmp_path.joinpath("cache").rglob("*") if path.is_file()]
    if "Retry-After" in fault.headers:
        assert caught.value.hint == "the server asks to wait: Retry-After is '3600'"

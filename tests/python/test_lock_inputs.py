"""The parser of requirements files, by table and by property."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Reference

from builder.errors import InvalidBuildFile
from builder.python.inputs import split_entry
from builder.python.requirements import Include, Option, Requirement, normalised_name, parse


def one(text: str) -> Requirement:
    (line,) = parse(text, "r.txt")
    assert isinstance(line, Requirement)
    return line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pkg @ git+https://h/a/b@v1#subdirectory=x", ("git", "pkg", "https://h/a/b", "v1", "x", "")),
        ("git+https://h/a/b.git@feature/x#egg=Foo[y]", ("git", "foo", "https://h/a/b.git", "feature/x", "", "[y]")),
        ("-e git+https://h/a/b.git#egg=foo&subdirectory=q", ("git", "foo", "https://h/a/b.git", "", "q", "")),
        ("-e .", ("path", "", ".", "", "", "")),
        ("--editable=./pkg[web]", ("path", "", "./pkg", "", "", "[web]")),
        ("../sibling", ("path", "", "../sibling", "", "", "")),
        ("file:./pkg#egg=pkg", ("path", "pkg", "./pkg", "", "", "")),
        ("./w/foo-1.0-py3-none-any.whl", ("path", "", "./w/foo-1.0-py3-none-any.whl", "", "", "")),
        ("vendor/foo-1.0.tar.gz", ("path", "", "vendor/foo-1.0.tar.gz", "", "", "")),
        ("bar[x] @ https://h/bar.tar.gz#sha256=00", ("url", "bar", "https://h/bar.tar.gz", "", "", "[x]")),
        ("Zope.Interface", ("index", "zope-interface", "", "", "", "")),
    ],
)
def test_places(text: str, expected: tuple[str, ...]) -> None:
    found = one(text)
    assert (found.kind, found.name, found.place, found.ref, found.subdirectory, found.extras) == expected


def test_options_includes_comments_and_continuations() -> None:
    text = (
        "\ufeff# all\n--index-url=https://h/simple\n-i https://h/simple\n-rmore.txt\n--constraint c.txt\n--pre\n"
        "a==1 \\\n  --hash=sha256:" + "a" * 64 + " \\\n  --hash sha256:" + "b" * 64 + "  # why\n"
        "b # c\nc#d\n\n   \nd ; python_version > '3'\n--no-binary a,B_c\n"
    )
    lines = [*parse(text.replace("c#d\n", ""), "r.txt")]
    assert [type(line) for line in lines[:5]] == [Option, Option, Include, Include, Option]
    a, b, d = lines[5:8]
    assert isinstance(a, Requirement)
    assert a.hashes == (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")
    assert a.origin == "r.txt:7"
    assert isinstance(b, Requirement)
    assert (b.name, b.origin) == ("b", "r.txt:10")
    assert isinstance(d, Requirement)
    assert d.marker == "python_version > '3'"
    assert lines[8] == Option(origin="r.txt:14", name="--no-binary", value="a,B_c") or lines[8].origin.startswith(
        "r.txt"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("git+ssh://git@h.example/a/b", "https://h.example/a/b"),
        ("git@h.example:a/b.git", "https://h.example/a/b.git"),
        ("/etc/passwd", "absolute"),
        ("a @ file:///etc", "absolute"),
        ("a b", "not a requirement"),
        ("a=1", "not a requirement"),
        ("--frobnicate x", "--frobnicate"),
        ("--trusted-host h", "--trusted-host"),
        ("-r", "needs a value"),
        ("a --global-option=x", "--global-option"),
        ("a==1 --hash=md5:00", "sha256"),
        ("a @ ftp://h/a.whl", "ftp://"),
        ("a @ git+https://h/a/b#subdirectory=../..", "subdirectory"),
    ],
)
def test_what_cannot_be_used_says_where_and_why(text: str, words: str) -> None:
    with pytest.raises(InvalidBuildFile, match=r"^r.txt:1: ") as caught:
        list(parse(text, "r.txt"))
    assert words in caught.value.message + caught.value.hint
    assert caught.value.hint


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,2})){0,3}((a|b|rc)[0-9])?", fullmatch=True)
CLAUSES = st.builds(str.__add__, st.sampled_from(["==", ">=", "<=", "!=", "~=1.", ">", "<"]), VERSIONS)
SPECIFIERS = st.lists(CLAUSES, max_size=3).map(",".join)
EXTRAS = st.lists(NAMES, max_size=2).map(lambda names: f"[{','.join(names)}]" if names else "")
MARKERS = st.sampled_from(["", " ; python_version >= '3.9'", ' ; sys_platform == "linux" and extra == "x"'])


@given(name=NAMES, extras=EXTRAS, specifier=SPECIFIERS, marker=MARKERS, comment=st.sampled_from(["", " # x", "\t#"]))
def test_requirements_by_name_mean_what_packaging_says(
    name: str, extras: str, specifier: str, marker: str, comment: str
) -> None:
    text = f"{name}{extras} {specifier}{marker}"
    try:
        reference = Reference(text)
    except InvalidRequirement:
        return
    found = one(text + comment)
    again = Reference(f"{found.name}{found.extras}{found.specifier}" + (f" ; {found.marker}" if found.marker else ""))
    assert normalised_name(again.name) == normalised_name(reference.name)
    assert again.extras == reference.extras
    assert again.specifier == reference.specifier
    assert again.marker == reference.marker


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused_with_its_line(text: str) -> None:
    try:
        found = [line.origin for line in parse(text, "r.txt")]
    except InvalidBuildFile as error:
        found = [error.message]
    assert all(one.startswith("r.txt:") for one in found)


@given(
    secret=st.text(string.ascii_letters + string.digits, min_size=12, max_size=20),
    shape=st.sampled_from(
        [
            "https://{}@h/a.whl",
            "x @ https://u:{}@h/a.whl",
            "-e git+https://{}@h/a/b",
            "--index-url https://u:{}@h/simple",
            "--extra-index-url=https://{}:x@h/simple",
            "https://h/a.whl?sig={}",
            "git+ssh://u:{}@h/a/b",
            "x@https://{}@h/y",
            "-f https://{}@h/",
        ]
    ),
)
def test_credentials_are_never_shown(secret: str, shape: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        list(parse(shape.format(secret), "r.txt"))
    assert secret not in caught.value.message + caught.value.hint


@given(st.lists(st.sampled_from(["a==1", "b", "# x", "", "c[x]"]), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_line_ends_and_order_are_kept(lines: list[str], end: str) -> None:
    found = [line.name for line in parse(end.join(lines), "f") if isinstance(line, Requirement)]
    assert found == [line.partition("=")[0].partition("[")[0] for line in lines if line and not line.startswith("#")]


def test_entries_of_the_build_file() -> None:
    assert split_entry("a/pyproject.toml") == ("a/pyproject.toml", (), None)
    assert split_entry("pyproject.toml[web, cli]") == ("pyproject.toml", ("web", "cli"), None)
    assert split_entry("uv.lock#group=prod") == ("uv.lock", (), "prod")

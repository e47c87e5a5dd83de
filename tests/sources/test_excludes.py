"""What is left out by default, where no commit says what is wanted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from builder.sources.archive import is_of_git
from builder.sources.directory import snapshot
from builder.sources.excludes import Excludes, default_excludes, leave_out, left_out_warning
from tests.sources.test_directory import FILES, git, taken, write

UNWANTED = {
    ".env": "TOKEN=x",
    "pkg/.env.production": "TOKEN=x",
    "certs/server.pem": "",
    "deep/er/id_rsa": "",
    ".aws/credentials": "",
    "terraform.tfstate": "",
    ".env~": "",
    ".venv/bin/python": "",
    "node_modules/a/index.js": "",
    ".DS_Store": "",
    "deploy.sh": "",
    "deploy.log": "",
}
YAML = "function:\n  runtimes: [python3.13]\n  handler: a.b\n"


def test_the_list_is_plain_names() -> None:
    """All readers can take them: gitignore, Terraform's fileset behind `**/`, tar, the CDK, bash."""
    for patterns in default_excludes().values():
        for pattern in patterns:
            assert "/" not in pattern
            assert not set(pattern) & set("?[]!{}\\ ")
            assert "**" not in pattern


@pytest.mark.parametrize(
    ("build_file", "stay"),
    [
        pytest.param("", set(), id="nothing named"),
        pytest.param(f"{YAML}  files: [app.py, pkg/, certs]\n", set(), id="a directory above names nothing"),
        pytest.param(f"{YAML}  files: [.env]\n", {".env"}, id="in a flow list"),
        pytest.param(f"{YAML}  files:\n    - app.py\n    - './.env'  # ours\n", {".env"}, id="in a block list"),
        pytest.param(f"{YAML}  files: .env\n", {".env"}, id="a single text"),
        pytest.param('{"function":{"files":["app.py",\n"certs/*.pem"]}}', {"certs/server.pem"}, id="JSON, a pattern"),
        pytest.param(f"{YAML}  files: ['**/*.pem']\n", {"certs/server.pem"}, id="at any depth"),
        pytest.param(f"{YAML}  source_dir: certs\n  files: [server.pem]\n", {"certs/server.pem"}, id="source_dir"),
        pytest.param(f"{YAML}  files: [.venv/bin/python]\n", {".venv/bin/python"}, id="below what is left out"),
        pytest.param("layers:\n  a:\n    preinstall: ['cat .env | tee x']\n    files: [x]\n", {".env"}, id="a command"),
        pytest.param(f"{YAML}  files: [x]\n  # files: [.env]\n", set(), id="a comment"),
        pytest.param(f"{YAML}  files: [x]\n  description: reads .env, deploy.sh\n", set(), id="prose"),
        pytest.param(f"{YAML}  environment: {{DOTENV: .env}}\n", set(), id="a variable"),
        pytest.param("function:\n  runtimes: [nodejs22.x]\n", {"node_modules/a/index.js"}, id="Node"),
        pytest.param(f"# nodejs\n{YAML}  # no nodejs22.x\n", set(), id="Node in a comment"),
        pytest.param("function: {runtimes: [nodejs22.x]}#\n", {"node_modules/a/index.js"}, id="Node before a hash"),
        pytest.param("files: [" + "[" * 5000 + "\0 {]]: '\"\n", set(), id="no build file at all"),
    ],
)
def test_what_the_build_file_names_stays(tmp_path: Path, build_file: str, stay: set[str]) -> None:
    write(tmp_path, {**FILES, **UNWANTED, "build.yaml": build_file})
    gone = leave_out(tmp_path, Excludes(build_file))
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*FILES, *stay}
    assert {path.partition("/")[0] for paths in gone.values() for path in paths}.isdisjoint(left)


def test_what_is_named_counts_from_the_project_on() -> None:
    excludes = Excludes("files: [.env, 'a*.pem']", "services/[x]")
    assert excludes.group_of("services/[x]/.env") is None
    assert excludes.group_of("services/[x]/ab.pem") is None
    for path in (".env", "services/x/.env", "services/[x]/deep/.env", "services/[x]/b.pem"):
        assert excludes.group_of(path) == "secrets", path


def test_secrets_in_capitals_and_their_backups_are_secrets() -> None:
    excludes = Excludes("files: [.Env.Keep]")
    for path in (".ENV", "x/Server.PEM", ".AWS/config", "ID_RSA", "a.pem.bak", "b.KEY~", "id_ed25519.old", ".Env"):
        assert excludes.group_of(path) == "secrets", path
    for path in (".Env.Keep", "Venv/a.py", "Deploy.sh", "pem.bak", "README.KEYS"):
        assert excludes.group_of(path) is None, path


def test_only_secrets_are_told() -> None:
    assert left_out_warning([]) == ""
    assert "left out" in left_out_warning(["b.pem", ".env"])
    assert ".env, b.pem;" in left_out_warning(["b.pem", ".env"])
    assert "a4 and 3 more;" in left_out_warning([f"a{number}" for number in range(8)])


def test_of_a_work_tree_what_is_committed_stays(tmp_path: Path) -> None:
    """What git has is what its user wants; what git would only take is not."""
    folder = tmp_path / "shop"
    write(folder, {**FILES, **UNWANTED, ".gitignore": "*.tfstate\n"})
    git(folder, "init", "-q")
    git(folder, "add", *FILES, "certs", ".gitignore", "deploy.sh")
    assert taken(folder, tmp_path / "into") == {*FILES, "certs/server.pem", ".gitignore", "deploy.sh"}
    said = snapshot(folder, tmp_path / "again").secrets
    assert said == (".aws/credentials", ".env", ".env~", "deep/er/id_rsa", "pkg/.env.production")


def test_of_a_directory_what_lambdaignore_names_is_not_told(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write(folder, {**FILES, **UNWANTED, ".lambdaignore": ".env*\n"})
    assert taken(folder, tmp_path / "into") == {*FILES, ".lambdaignore"}
    said = snapshot(folder, tmp_path / "again").secrets
    assert said == (".aws", "certs/server.pem", "deep/er/id_rsa", "terraform.tfstate")


@pytest.mark.parametrize("format", ["zip", "tar", "tar.gz"])
def test_git_marks_the_archives_that_it_makes(tmp_path: Path, format: str) -> None:
    write(tmp_path, FILES)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    for what, marked in (("HEAD", True), ("HEAD^{tree}", False)):
        archive = tmp_path / f"archive.{format}"
        git(tmp_path, "archive", f"--format={format}", f"--output={archive}", what)
        assert is_of_git(archive) is marked


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8bgarbage", b"g" * 1024])
def test_what_is_no_archive_was_not_made_by_git(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    assert not is_of_git(tmp_path / "archive")


def test_an_ordinary_tar_was_not_made_by_git(tmp_path: Path) -> None:
    """A pax header for all entries may have any comment."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "by hand"}) as tar:
        tar.addfile(tarfile.TarInfo("app.py"))
    (tmp_path / "archive").write_bytes(made.getvalue())
    assert not is_of_git(tmp_path / "archive")

"""The workstation door: what it writes, what it says, how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from builder.sources.directory import snapshot

ROOT = Path(__file__).resolve().parents[2]
_WHO = ("-c", "user.name=test", "-c", "user.email=test@localhost")
BUILD = (
    "function:\n  runtimes: [python3.13]\n  handler: app.handler\n  files: [app.py]\n"
    "layers:\n  words:\n    files: [words.txt]\n"
)


def project(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"build.yaml": BUILD, "app.py": "def handler(event, context): ...\n", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def run(*arguments: str | Path, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "builder", "build", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), **environment},
        cwd=cache.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *_WHO, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_directory_becomes_zips_and_a_reply(tmp_path: Path, cache: Path) -> None:
    folder, out = project(tmp_path / "shop", **{"words.txt": "hello\n"}), tmp_path / "out"
    done = run(folder, "-o", out, "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply == json.loads((out / "build.json").read_text())
    assert reply["statusCode"] == 200
    assert reply["files"] == {"words": "layers/words.zip", "function": "function.zip"}
    assert zipfile.ZipFile(out / "function.zip").namelist() == ["app.py"]
    assert zipfile.ZipFile(out / "layers" / "words.zip").read("words.txt") == b"hello\n"
    assert "building function" in done.stderr
    assert "\x1b" not in done.stderr
    assert (cache / "lambdasmith").is_dir()


def test_an_unchanged_directory_is_not_built_again_and_gives_the_same_bytes(tmp_path: Path, cache: Path) -> None:
    folder = project(tmp_path / "shop", **{"words.txt": "hello\n"})
    outs = []
    for name, mask in (("one", 0o022), ("two", 0o077)):
        before = os.umask(mask)
        try:
            done = run(folder, "-o", tmp_path / name, cache=cache)
        finally:
            os.umask(before)
        assert done.returncode == 0, done.stderr
        outs.append([(tmp_path / name / path).read_bytes() for path in ("function.zip", "layers/words.zip")])
    assert outs[0] == outs[1]
    assert done.stdout.count("  unchanged, ") == 2


def test_zips_of_layers_that_are_gone_go_and_a_failed_build_leaves_all_as_it_was(tmp_path: Path, cache: Path) -> None:
    folder, out = project(tmp_path / "shop", **{"words.txt": "hello\n"}), tmp_path / "out"
    assert run(folder, "-o", out, cache=cache).returncode == 0
    (out / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (folder / "words.txt").unlink()
    assert run(folder, "-o", out, cache=cache).returncode == 3
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    project(folder, **{"build.yaml": BUILD.partition("layers:")[0]})
    assert run(folder, "-o", out, cache=cache).returncode == 0
    assert sorted(path.name for path in out.iterdir()) == ["build.json", "function.zip", "notes.txt"]


def test_what_was_built_is_kept_though_its_check_fails(tmp_path: Path, cache: Path) -> None:
    build_file = BUILD.replace("python3.13", f"python3.{sys.version_info.minor}")
    broken = {"build.yaml": build_file, "words.txt": "hello\n", "app.py": "import nothing_of_the_kind\n"}
    folder, out = project(tmp_path / "shop", **broken), tmp_path / "out"
    done = run(folder, "-o", out, cache=cache)
    assert done.returncode == 7, done.stderr
    assert "No module named 'nothing_of_the_kind'" in done.stderr
    project(folder, **{"build.yaml": build_file})
    done = run(folder, "-o", out, "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    actions = {row["name"]: row["action"] for row in json.loads(done.stdout)["artifacts"]}
    assert actions == {"words": "reuse", "function": "build"}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere"], 5, "nowhere is not a directory"),
        (["shop", "--runtime", "python2.7"], 2, "invalid choice: 'python2.7'"),
        (["shop", "layer"], 2, "component 'layer' is not in the build file"),
        (["shop", "--build-file", "biuld.yaml"], 3, "did you mean build.yaml?"),
        (["shop", "-o", "shop/app.py"], 2, "shop/app.py cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_explained(
    tmp_path: Path, cache: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    project(tmp_path / "shop", **{"words.txt": "hello\n"})
    done = run(*arguments, cache=cache)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_with_json_a_failure_is_a_reply_too(tmp_path: Path, cache: Path) -> None:
    done = run(project(tmp_path / "shop"), "-o", tmp_path / "out", "--json", cache=cache)
    reply = json.loads(done.stdout)
    assert (done.returncode, reply["statusCode"], reply["error"]["code"]) == (3, 400, "invalid_build_file")
    assert "words.txt" in reply["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_nothing_of_aws_is_imported(tmp_path: Path, cache: Path) -> None:
    folder = project(tmp_path / "shop", **{"words.txt": "hello\n"})
    code = (
        "import sys\nfrom builder.__main__ import main\n"
        f"status = main(['build', {str(folder)!r}, '-o', {str(tmp_path / 'out')!r}])\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('boto3', 'botocore')))\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("plain", [False, True], ids=["colour", "NO_COLOR"])
def test_on_a_terminal_progress_is_live(tmp_path: Path, cache: Path, plain: bool) -> None:
    folder = project(tmp_path / "shop", **{"words.txt": "hello\n"})
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), "TERM": "xterm"}
    environment |= {"NO_COLOR": "1"} if plain else {}
    with subprocess.Popen(
        [sys.executable, "-m", "builder", "build", str(folder), "-o", str(tmp_path / "out")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        seen = _read_all(ours)
    assert child.returncode == 0
    assert "\r\x1b[K" in seen
    assert "✓" in seen
    assert ("\x1b[32m" in seen) is not plain
    assert seen.endswith(("\n", "\x1b[K"))


def _read_all(handle: int) -> str:
    chunks = []
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            chunk = os.read(handle, 65536)
        except OSError:  # Linux's way of saying that the other side is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(handle)
    return b"".join(chunks).decode()


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


def test_in_a_work_tree_what_git_would_take_is_built(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    project(repo / "shop", **{"words.txt": "hello\n", "gone.py": "", ".gitignore": "*.log\n/venv/\n"})
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    when = {"GIT_COMMITTER_DATE": "2024-05-06T07:08:09Z", **os.environ}
    subprocess.run(["git", *_WHO, "commit", "-q", "-m", "x"], cwd=repo, env=when, check=True)
    (repo / "shop" / "gone.py").unlink()
    project(
        repo / "shop", **{"new.py": "", "x.log": "", "venv/lib.py": "", "out/function.zip": "", "app.py": "changed"}
    )
    (repo / "shop" / "run.sh").write_text("")
    (repo / "shop" / "run.sh").chmod(0o700)
    (repo / "shop" / "link").symlink_to("app.py")
    taken = snapshot(repo / "shop", tmp_path / "copy", leave_out=[repo / "shop" / "out"])
    assert names(taken.root) == [".gitignore", "app.py", "build.yaml", "link", "new.py", "run.sh", "words.txt"]
    assert (taken.root / "app.py").read_text() == "changed"
    assert (taken.root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (taken.root / "link").readlink() == Path("app.py")
    assert taken.commit_time == 1714979289
    assert {(taken.root / name).stat().st_mtime for name in ("app.py", "new.py")} == {1714979289.0}
    assert len(taken.commit) == 40


def test_a_directory_that_git_ignores_or_does_not_know_is_taken_whole(tmp_path: Path) -> None:
    plain = project(tmp_path / "plain", **{"x.log": "", ".gitignore": "*.log"})
    assert names(snapshot(plain, tmp_path / "one").root) == [".gitignore", "app.py", "build.yaml", "x.log"]
    repo = tmp_path / "repo"
    project(repo, **{".gitignore": "made/\n"})
    git(repo, "init", "-q")
    project(repo / "made", **{"x.log": ""})
    taken = snapshot(repo / "made", tmp_path / "two")
    assert names(taken.root) == ["app.py", "build.yaml", "x.log"]
    assert (taken.commit, taken.commit_time) == ("", 315532800)


def test_a_stranger_in_the_cache_directory_does_not_disturb(tmp_path: Path, cache: Path) -> None:
    """Two builds at once share the cache and nothing else."""
    folders: list[Any] = [project(tmp_path / name, **{"words.txt": f"{name}\n" * 1000}) for name in ("a", "b", "c")]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "builder", "build", str(folder), "-o", str(folder / "out")],
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    for folder, child in zip(folders, children, strict=True):
        assert child.communicate(timeout=60)[1] is not None
        assert child.returncode == 0
        words = zipfile.ZipFile(folder / "out" / "layers" / "words.zip").read("words.txt").decode()
        assert words == f"{folder.name}\n" * 1000


def test_an_artifact_that_somebody_removed_is_made_again(tmp_path: Path, cache: Path) -> None:
    folder = project(tmp_path / "shop", **{"words.txt": "hello\n"})
    assert run(folder, "-o", tmp_path / "one", cache=cache).returncode == 0
    [removed] = [path for path in cache.rglob("artifacts/*.zip") if zipfile.ZipFile(path).namelist() == ["app.py"]]
    removed.unlink()
    done = run(folder, "-o", tmp_path / "two", cache=cache)
    assert (done.returncode, done.stdout.count("  unchanged, ")) == (0, 1), done.stderr
    assert (tmp_path / "two" / "function.zip").read_bytes() == (tmp_path / "one" / "function.zip").read_bytes()


def test_a_handler_that_needs_a_layer_from_elsewhere_is_not_tried_without_it(tmp_path: Path, cache: Path) -> None:
    build = BUILD.replace("python3.13", f"python3.{sys.version_info.minor}")
    files = {"words.txt": "hello\n", "app.py": "import only_there\ndef handler(event, context): ...\n"}
    alone = run(project(tmp_path / "shop", **files, **{"build.yaml": build}), "-o", tmp_path / "out", cache=cache)
    assert "only_there" in alone.stderr, "or the test shows nothing"
    build += "  sdk: arn:aws:lambda:eu-west-1:123456789012:layer:sdk:1\n"
    folder = project(tmp_path / "shop", **files, **{"build.yaml": build})
    done = run(folder, "-o", tmp_path / "out", "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["checks"]["why"] == "layers of others are attached: arn:aws:lambda:eu-west-1:123456789012:layer:sdk:1"
    assert sorted(reply["files"]) == ["function", "words"]


def test_a_relative_cache_is_found_from_everywhere(tmp_path: Path, cache: Path) -> None:
    build_file = BUILD.replace("python3.13", f"python3.{sys.version_info.minor}").partition("layers:")[0]
    build_file += "layers:\n  code:\n    files: [words.py]\n    dest_dir: python\n"
    files = {
        "build.yaml": build_file,
        "words.py": "N = 1\n",
        "app.py": "import words\ndef handler(event, context): ...\n",
    }
    done = run(project(tmp_path / "shop", **files), "-o", "out", "--cache", "kept", "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checks"]["tried"]
    assert (tmp_path / "kept").is_dir()


def test_a_check_says_all_that_is_wrong_and_builds_nothing(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(
        "function:\n  runtimes: [python3.13]\n  handler: app.main\n  files: [app.py]\nlayers:\n  dependencies: r.txt\n"
    )
    command = [sys.executable, "-m", "builder", "check", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    for words in ("build.yaml:4: function.files.0", "build.yaml:6: layers.dependencies", "'r.txt' does not exist"):
        assert words in done.stderr
    (tmp_path / "app.py").touch()
    (tmp_path / "r.txt").write_text("idna\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "build.yaml is valid; it makes dependencies, function\n"), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "build.yaml", "r.txt"]


def test_a_schema_is_printed_as_a_file_for_editors() -> None:
    done = subprocess.run([sys.executable, "-m", "builder", "schema"], capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "schemas" / "build.schema.json").read_text()

"""The import of a handler from finished artifacts, in real children."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.errors import ImportFailed, OutOfMemory
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.trials.trial import Outcome, Trial, is_possible, run
from builder.workspace.directory import Workspace

ROOT = Path(__file__).resolve().parents[2]
OWN = Target(runtime=RUNTIMES[f"python3.{sys.version_info.minor}"], architecture=architecture_of(os.uname().machine))
HANDLER = "\ndef handler(event, context): ...\n"


def pack(path: Path, files: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def attempt(
    folder: Path,
    code: str | Mapping[str, str],
    *layers: Mapping[str, str],
    handler: str = "app.handler",
    variables: Mapping[str, str] | None = None,
    timeout_s: float = 30,
    memory_mb: int | None = None,
) -> Outcome:
    files = {"app.py": code + HANDLER} if isinstance(code, str) else code
    packed = [pack(folder / f"layer{number}.zip", layer) for number, layer in enumerate(layers)]
    trial = Trial(
        handler=handler,
        code=pack(folder / "function.zip", files),
        layers={hashlib.sha256(path.read_bytes()).hexdigest(): functools.partial(Path, path) for path in packed},
        target=OWN,
        function="shop",
        variables=variables or {},
        memory_mb=memory_mb,
    )
    return run(
        trial,
        scratch=folder,
        keeping=Workspace(folder / "work").trees(),
        timeout_s=timeout_s,
        advise=lambda module: f"get {module} somewhere",
    )


@pytest.mark.parametrize(
    "code",
    [
        "import json",
        "import os; assert os.environ['MODE'] == 'quiet' and os.environ['AWS_REGION']",
        "import os; assert os.environ['AWS_LAMBDA_FUNCTION_NAME'] == 'shop'",
        "import os; assert os.getcwd() == os.environ['LAMBDA_TASK_ROOT'] and open('data.txt').read() == 'here'",
        "import os; assert not [k for k in os.environ if 'SECRET' in k or 'TOKEN' in k or k.startswith('PYTHON')]",
        "import atexit, threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
        "print('x' * 200_000)",
        "import os; os.environ.get('NEVER_SET')",
        "from helpers import answer; from deep.inner import thing",
    ],
)
def test_what_works_on_lambda_works_here(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no")
    files = {"app.py": code + HANDLER, "data.txt": "here", "helpers.py": "answer = 1", "deep/inner.py": "thing = 2"}
    assert attempt(tmp_path, files, variables={"MODE": "quiet"}) == Outcome(imported=True)
    assert not (tmp_path / "trial").exists()


@pytest.mark.parametrize("handler", ["pkg.sub.app.run", "pkg/sub/app.run"])
def test_handlers_in_packages(tmp_path: Path, handler: str) -> None:
    assert attempt(tmp_path, {"pkg/sub/app.py": "def run(e, c): ..."}, handler=handler).imported


def test_layers_are_merged_in_order_and_the_function_comes_first(tmp_path: Path) -> None:
    first = {"python/thing/__init__.py": "", "python/thing/one.py": "x = 1", "python/thing/two.py": "x = 'early'"}
    second = {"python/thing/two.py": "x = 'late'", "python/app.py": "raise SystemExit"}
    third = {f"python/lib/python3.{sys.version_info.minor}/site-packages/deep.py": "x = 3"}
    code = "from thing import one, two; import deep; assert (one.x, two.x, deep.x) == (1, 'late', 3)"
    assert attempt(tmp_path, code, first, second, third).imported
    assert (tmp_path / "work" / "cache" / "unpacked").is_dir()
    assert len(list((tmp_path / "work" / "cache" / "unpacked").iterdir())) == 3
    assert attempt(tmp_path, code, first, second, third).imported, "from the kept directories"
    with pytest.raises(ImportFailed):
        attempt(tmp_path, code, second, first, third)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("import pytest", "No module named 'pytest'"),
        ("from json import nothing", "cannot import name 'nothing'"),
        ("def broken(:", "SyntaxError"),
        ("undefined_name", "NameError"),
        ("import os; os.environ.get('NEVER_SET'); undefined_name", "NameError"),
        ("import os; os.environ.get('NEVER_SET'); import nothing_there", "No module named 'nothing_there'"),
        ("raise ImportError('/opt/lib/libx.so is of another make')", "of another make"),
        ("{}['key']", "KeyError: 'key'"),
        ("open('missing.txt')", "No such file or directory: 'missing.txt'"),
        ("import os; open(os.path.join(os.path.dirname(__file__), 'x'))", "'/var/task/x'"),
        ("import ctypes; ctypes.CDLL('libnothing.so.7')", "libnothing.so.7: cannot open shared object file"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise RuntimeError('of its own')", "RuntimeError: of its own"),
        ("import os; os._exit(4)", "exit status 4"),
        ("import os; os._exit(0)", "ends the process"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
)
def test_what_fails_on_lambda_fails_here(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        attempt(tmp_path, code)
    assert said in caught.value.message
    assert caught.value.message.startswith("function.handler: ")
    assert caught.value.hint
    assert str(tmp_path) not in caught.value.message + "".join(caught.value.log_tail)


def test_a_mistake_in_the_code_is_not_to_be_left_untried(tmp_path: Path) -> None:
    for code in ("def broken(:", "import helpers"):
        with pytest.raises(ImportFailed) as caught:
            attempt(tmp_path, {"app.py": code, "helpers.py": "x = = 1\n"})
        assert caught.value.hint == "fix the line that the log tail shows; it is not valid for the function's Python"
        assert "SyntaxError: invalid syntax" in caught.value.log_tail[-1]


def test_the_traceback_ends_with_the_projects_lines_alone(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed) as caught:
        attempt(tmp_path, {"app.py": "import helpers\n", "helpers.py": "import nothing_here\n"})
    tail = "\n".join(caught.value.log_tail)
    assert 'File "/var/task/helpers.py", line 1, in <module>\n    import nothing_here' in tail
    assert "trial_child" not in tail
    assert "importlib" not in tail
    assert caught.value.hint == "get nothing_here somewhere"


@pytest.mark.parametrize(
    ("handler", "said"),
    [("app.handle", "did you mean handler?"), ("app.nothing_like_it", "has no"), ("app.VALUE", "not a function")],
)
def test_the_handler_must_be_there_and_callable(tmp_path: Path, handler: str, said: str) -> None:
    with pytest.raises(ImportFailed, match=said.replace("?", r"\?")):
        attempt(tmp_path, "VALUE = 3", handler=handler)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("open('/opt/words/phrases.json')", "/opt/words/phrases.json"),
        ("import pathlib; pathlib.Path('/opt/words').iterdir().__next__()", "/opt/words"),
        ("import ctypes; ctypes.CDLL('/opt/lib/libx.so')", "/opt/lib/libx.so"),
        ("import os; os.environ['TABLE_NAME']", "TABLE_NAME"),
        ("import os\nif not os.environ.get('DB_URL'): raise RuntimeError('configure me')", "DB_URL"),
        ("import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)", "network"),
        ("import boto3", "boto3 belongs to the runtime"),
        ("try:\n  open('/opt/x')\nexcept OSError as e:\n  raise RuntimeError('config') from e", "/opt/x"),
        ("open('/mnt/efs/model.bin')", "/mnt/efs/model.bin"),
    ],
)
def test_what_only_the_function_has_does_not_fail_the_build(tmp_path: Path, code: str, why: str) -> None:
    outcome = attempt(tmp_path, code)
    assert not outcome.imported
    assert why in outcome.why
    assert str(tmp_path) not in outcome.why


def test_files_of_layers_are_found_by_their_place_in_the_artifact(tmp_path: Path) -> None:
    layer = {"python/words/__init__.py": "import pathlib; t = pathlib.Path(__file__).with_name('w').read_text()"}
    assert attempt(tmp_path, "import words; assert words.t == 'w'", {**layer, "python/words/w": "w"}).imported


def test_an_endless_import_is_given_up(tmp_path: Path) -> None:
    outcome = attempt(tmp_path, "import time; time.sleep(60)", timeout_s=1)
    assert not outcome.imported
    assert "took longer than 1 s" in outcome.why


def test_only_the_own_python_and_machine_can_be_tried() -> None:
    assert is_possible(OWN)
    other = "python3.12" if OWN.runtime.name != "python3.12" else "python3.13"
    assert not is_possible(Target(runtime=RUNTIMES[other], architecture=OWN.architecture))
    machine = "arm64" if OWN.architecture == "x86_64" else "x86_64"
    assert not is_possible(Target(runtime=OWN.runtime, architecture=machine))  # type: ignore[arg-type]  # a literal


# --- through the workstation door ---


def door(folder: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "builder", "build", str(folder), "-o", str(folder / "out"), "--json", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder.parent / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    reply: dict[str, object] = json.loads(done.stdout)
    return done.returncode, reply


def project(folder: Path, code: str, *, extra: str = "", files: str = "[app.py]", **others: str) -> Path:
    build = f"function:\n  runtimes: [{OWN.runtime.name}]\n  handler: app.handler\n  files: {files}\n{extra}"
    for name, content in {"build.yaml": build, "app.py": code + HANDLER, **others}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_a_success_is_kept_and_a_change_is_tried_again(tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", "import json")
    status, reply = door(folder)
    assert (status, reply["checks"]) == (0, {"tried": True, "why": "", "native_files": 0, "reused": False})
    assert door(folder)[1]["checks"] == {"tried": True, "why": "", "native_files": 0, "reused": True}
    project(folder, "import jason")
    assert door(folder)[0] == 7
    project(folder, "import json")
    assert door(folder)[1]["checks"] == {"tried": True, "why": "", "native_files": 0, "reused": True}


@pytest.mark.parametrize(
    ("module", "extra", "others", "advice"),
    [
        ("yaml", "", {}, "list PyYAML in a requirements.txt"),
        ("some_thing", "", {}, "list some-thing in a requirements.txt"),
        ("helpers", "", {"helpers.py": ""}, "add it to function.files"),
        ("kit", "", {"kit/__init__.py": ""}, "kit is in the project and not in the artifact"),
        ("tools", "layers:\n  more:\n    files: [tools.py]\n", {"tools.py": ""}, "layers.more.dest_dir to python"),
    ],
)
def test_a_missing_module_comes_with_where_to_get_it(
    tmp_path: Path, module: str, extra: str, others: dict[str, str], advice: str
) -> None:
    status, reply = door(project(tmp_path / "shop", f"import {module}", extra=extra, **others))
    error = reply["error"]
    assert isinstance(error, dict)
    assert (status, error["code"], error["phase"]) == (7, "import_failed", "check")
    assert advice in error["hint"]
    assert not (tmp_path / "shop" / "out").exists()


def test_try_none_leaves_it_out(tmp_path: Path) -> None:
    status, reply = door(project(tmp_path / "shop", "import nothing_here", extra="try: none\n"))
    assert status == 0
    assert reply["checks"] == {
        "tried": False,
        "why": "the build file says try: none",
        "native_files": 0,
        "reused": False,
    }


def test_what_could_not_be_tried_is_a_warning(tmp_path: Path) -> None:
    status, reply = door(project(tmp_path / "shop", "open('/opt/words')"))
    assert status == 0
    assert "/opt/words" in str(reply["warnings"])


def test_values_of_the_keys_are_checked(tmp_path: Path) -> None:
    status, reply = door(project(tmp_path / "shop", "", extra="try: maybe\noptional_libraries: 3\n"))
    assert status == 3
    assert "has 2 problems" in str(reply["error"])


def test_an_error_of_seven_megabytes_is_a_short_one(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="importing app fails: ValueError: xxx") as caught:
        attempt(tmp_path, "raise ValueError('x' * 7_000_000)")
    assert len(caught.value.message) < 20_000
    assert sum(map(len, caught.value.log_tail)) < 40_000


def test_an_error_that_cannot_be_shown_is_one_all_the_same(tmp_path: Path) -> None:
    code = "class Odd(Exception):\n    def __str__(self):\n        raise SystemExit('no')\nraise Odd()"
    with pytest.raises(ImportFailed, match="importing app fails: "):
        attempt(tmp_path, code)


@pytest.mark.parametrize(
    "written",
    [
        "[1]",
        "{}",
        '{"outcome": "failed"}',
        '{"outcome": "failed", "chain": [{}, 1], "traceback": 5}',
        "[" * 100000,
        " " * (17 << 20),
    ],
)
def test_a_report_that_the_project_has_written_itself_is_no_mistake_of_ours(tmp_path: Path, written: str) -> None:
    code = f"import os\nfrom pathlib import Path\nPath('../report.json').write_text({written[:1]!r} * {len(written)})"
    if len(set(written)) > 1:
        code = f"import os\nfrom pathlib import Path\nPath('../report.json').write_text({written!r})"
    with pytest.raises(ImportFailed, match=r"function\.handler: "):
        attempt(tmp_path, f"{code}\nos._exit(0)")


@pytest.mark.parametrize("planted", ["os.mkfifo('../report.json')", "os.symlink('/dev/zero', '../report.json')"])
def test_what_is_no_file_is_not_read_as_a_report(tmp_path: Path, planted: str) -> None:
    with pytest.raises(ImportFailed, match="leaves no readable report"):
        attempt(tmp_path, f"import os\n{planted}\nos._exit(0)")


def test_an_import_that_wants_too_much_memory_is_told_so(tmp_path: Path) -> None:
    assert attempt(tmp_path, "much = bytearray(300 << 20)", memory_mb=1000).imported
    with pytest.raises(OutOfMemory, match="importing app: not enough memory"):
        attempt(tmp_path, "much = bytearray(300 << 20)", memory_mb=200)

"""The small parts: order of steps, patience, what is packaged, how the builder's refusals come back."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from bootstrap.changes import Step
from bootstrap.package import code_sha256, function_entries, package, starter_requirements, write_package
from bootstrap.patience import patiently
from bootstrap.walk import walk
from builder.errors import AwsRefused, FunctionBusy, NotSetUp, error_of


@dataclass(frozen=True, kw_only=True)
class One(Step):
    name: ClassVar[str] = "one"


@dataclass(frozen=True, kw_only=True)
class Two(Step):
    name: ClassVar[str] = "two"


@dataclass(frozen=True, kw_only=True)
class After(Step):
    name: ClassVar[str] = "after"
    needs: ClassVar[tuple[str, ...]] = ("one", "two", "a step that this plan lacks")


@dataclass
class Notes:
    lines: list[str] = field(default_factory=list)

    def started(self, step: Step) -> None:
        self.lines.append(f"started {step.name}")

    def said(self, step: Step, text: str) -> None:
        self.lines.append(f"{step.name}: {text}")

    def finished(self, step: Step, seconds: float) -> None:
        self.lines.append(f"finished {step.name}")

    def failed(self, step: Step) -> None:
        self.lines.append(f"failed {step.name}")


STEPS = (One(sentence="1"), Two(sentence="2"), After(sentence="3"))


def test_steps_run_together_and_wait_for_those_they_need() -> None:
    together, notes = threading.Barrier(2, timeout=5), Notes()

    def carry_out(step: Step) -> None:
        if step.name != "after":
            together.wait()  # breaks unless both run at the same time

    assert [done.step.name for done in walk(STEPS, carry_out, notes)][-1] == "after"
    assert notes.lines.index("started after") > notes.lines.index("finished one")
    assert notes.lines.index("started after") > notes.lines.index("finished two")


def test_after_a_failure_nothing_new_starts_and_what_runs_is_waited_for() -> None:
    failed, notes, ended = threading.Event(), Notes(), list[str]()

    def carry_out(step: Step) -> None:
        if step.name == "one":
            failed.set()
            raise AwsRefused("no")
        failed.wait(5)
        ended.append(step.name)

    with pytest.raises(AwsRefused, match="no"):
        walk(STEPS, carry_out, notes)
    assert ended == ["two"]
    assert "started after" not in notes.lines


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_patience_repeats_what_may_still_come_and_gives_up_in_the_end() -> None:
    time, tries = FakeTime(), list[float]()

    def attempt() -> str:
        tries.append(time.now)
        if time.now < 10:
            raise AwsRefused("not assumable yet")
        return "made"

    def always(error: Exception) -> bool:
        return True

    assert patiently(attempt, retry=always, patience_s=60, clock=time.clock, sleep=time.sleep) == "made"
    assert 10 <= tries[-1] < 15
    time.now = -100
    with pytest.raises(AwsRefused):
        patiently(attempt, retry=always, patience_s=60, clock=time.clock, sleep=time.sleep)
    assert time.now <= -40


def test_patience_does_not_repeat_other_errors() -> None:
    tries = list[int]()

    def attempt() -> None:
        tries.append(1)
        raise AwsRefused("no")

    with pytest.raises(AwsRefused):
        patiently(attempt, retry=lambda error: isinstance(error, FunctionBusy), patience_s=60)
    assert tries == [1]


def test_the_functions_zip_is_the_builder_and_the_same_every_time() -> None:
    one, two = package(), package()
    assert one == two
    names = zipfile.ZipFile(io.BytesIO(one.code)).namelist()
    assert "builder/handler.py" in names
    assert "builder/requirements.lock" in names
    assert all(name.startswith("builder/") and "__pycache__" not in name for name in names)


def test_what_people_leave_lying_about_is_not_packaged(tmp_path: Path) -> None:
    for name in ("handler.py", ".env", "rooms/id_rsa", "rooms/.venv/x.py", "rooms/a.json", "__pycache__/handler.pyc"):
        (tmp_path / "builder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "builder" / name).touch()
    names = {entry.name for entry in function_entries(tmp_path / "builder")}
    assert names == {"builder/handler.py", "builder/rooms/a.json"}


def test_the_layer_key_is_the_hash_of_the_lock() -> None:
    lock = Path(__file__).resolve().parent.parent.parent / "builder" / "requirements.lock"
    assert package().layer_key == hashlib.sha256(lock.read_bytes()).hexdigest()


def test_the_starter_lock_is_what_its_input_asks_for_and_is_renewed_with_the_others() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    asked = [line for line in (root / "bootstrap" / "starter.in").read_text().splitlines() if not line.startswith("#")]
    locked = re.findall(r"^([a-z0-9-]+)==", (root / "bootstrap" / "starter.lock").read_text(), re.MULTILINE)
    assert locked == asked
    script = (root / "scripts" / "lock.sh").read_text()
    found = (
        path
        for pattern in ("*.lock", "*/*.lock", "*/*/*.lock", "localaws/src/**/*.lock")
        for path in root.glob(pattern)
    )
    locks = [str(path.relative_to(root)) for path in found]
    renewed = re.findall(r"^compile (\S+)", script, re.MULTILINE)
    renewed += [f"localaws/src/localaws/runtime/nodejs{major}.lock" for major in (20, 22, 24)]  # in a loop
    assert sorted(renewed) == sorted(path for path in locks if not path.startswith((".", "examples/", "integrations/")))


def test_the_starter_layer_is_pinned_by_hash() -> None:
    blocks = starter_requirements().replace("\\\n", "").splitlines()
    pinned = [line for line in blocks if "==" in line]
    assert {line.partition("==")[0] for line in pinned} >= {"boto3", "botocore", "pip"}
    assert all("--hash=sha256:" in line for line in pinned)


def test_the_starter_layer_has_boto3_pip_and_placeholders_only_for_the_services_in_use(tmp_path: Path) -> None:
    import os

    made, folders = [], [tmp_path / "out" / name for name in ("one", "two")]
    for out in folders:
        work = tmp_path / out.name
        work.mkdir()
        facts = write_package(out, runtime="python3.13", work=work, environment=os.environ, index_url=None)
        made.append((out / "starter.zip").read_bytes())
        assert facts["starter_sha256"] == code_sha256(made[-1])
        assert (out / "builder.zip").read_bytes() == package().code
    assert made[0] == made[1]
    assert (folders[0] / "package.json").read_bytes() == (folders[1] / "package.json").read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(made[0]))
    names = archive.namelist()
    assert len(made[0]) < 6_000_000
    assert {"python/boto3/__init__.py", "python/pip/__init__.py", "python/six.py"} <= set(names)
    assert {name.split("/")[3] for name in names if name.startswith("python/botocore/data/")} >= {"lambda", "s3"}
    assert not any(name.startswith("python/botocore/data/ec2/") for name in names)
    assert not any(name.startswith("python/bin/") or name.endswith((".lock", ".pyc")) for name in names)
    assert b"__lambdasmith_placeholder__ = True" in archive.read("python/yaml/__init__.py")


def test_the_builders_refusal_keeps_its_class_message_and_hint() -> None:
    error = error_of({"code": "builder_not_set_up", "message": "m", "hint": "h", "log_tail": ["a"], "problems": None})
    assert isinstance(error, NotSetUp)
    assert (error.message, error.hint, error.log_tail, error.problems) == ("m", "h", ("a",), ())

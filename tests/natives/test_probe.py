"""The baseline that a builder records, and what builds make of it."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import NativeMismatch
from builder.making.checks import check
from builder.natives.judging import Baseline, Recorded, baseline_record
from builder.natives.machine import Machine
from builder.natives.probe import difference, probe, survey
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.store.directory import DirectoryStore
from builder.store.values import Fields
from builder.workshop.workshop import Workshop
from tests.making.test_checks import made, standard, workshop  # noqa: F401  # a fixture
from tests.natives.native import module, shared
from tests.store.storing import read_json

PROVIDED = Target(runtime=RUNTIMES["provided.al2023"], architecture=architecture_of(platform.machine()))
PYTHON = replace(PROVIDED, runtime=RUNTIMES["python3.13"])


def system(folder: Path) -> Path:
    """A directory of libraries as a system has them, with links and things that are none."""
    script = folder / "versions"
    folder.mkdir()
    script.write_text("GLIBC_2.9 { global: old; };\nGLIBC_2.31 { global: new; };\nGLIBC_PRIVATE { global: own; };\n")
    flags = [f"-Wl,--version-script={script}"]
    shared(
        folder / "libc.so.6", "void old(void) {} void new(void) {} void own(void) {}", soname="libc.so.6", flags=flags
    )
    shared(folder / "libz.so.1.3", "int z;", soname="libz.so.1")
    for name in ("libz.so", "libz.so.1", "libold.so.5"):
        (folder / name).symlink_to("libz.so.1.3")
    shared(folder / "libplain.so", "int plain;")
    (folder / "libtext.so.1").write_text("GROUP ( libc.so.6 )")
    (folder / "libgone.so.1").symlink_to("nowhere")
    return folder


def test_a_survey_names_what_files_can_ask_for(tmp_path: Path) -> None:
    machine = Machine(system="AL2023", directories=(system(tmp_path / "lib"), tmp_path / "none"))
    runtime = shared(tmp_path / "lang" / "libpython3.13.so.1.0", "int python;", soname="libpython3.13.so.1.0")
    found = survey(PYTHON, machine, [runtime.parent], by="1.2")
    libraries, own = found["libraries"], found["runtime_libraries"]
    assert {name: row["soname"] for name, row in libraries.items()} == {
        "libc.so.6": "libc.so.6",
        "libold.so.5": "libz.so.1",
        "libplain.so": "",
        "libz.so.1": "libz.so.1",
    }
    assert list(own) == ["libpython3.13.so.1.0"]
    assert found["versions"] == {"GLIBC": "2.31"}
    differs = difference(PYTHON, found)
    assert differs["added"] == ["libold.so.5", "libplain.so"]
    assert {"libstdc++.so.6", "libm.so.6"} <= set(differs["missing"])
    assert "libcurl.so.4" not in differs["missing"], "only believed to be there"
    assert differs["versions"]["GLIBC"] == {"known": "2.34", "found": "2.31"}

    foreign = survey(
        replace(PYTHON, architecture="arm64" if PYTHON.architecture == "x86_64" else "x86_64"), machine, [], by=""
    )
    assert foreign["libraries"] == {}


def test_a_runtimes_own_libraries_count_for_that_runtime_alone(tmp_path: Path) -> None:
    recorded = {
        "system": "AL2023",
        "runtime": "python3.13",
        "versions": {"GLIBC": "2.34"},
        "libraries": {"libc.so.6": {"path": "/lib64/libc.so.6"}},
        "runtime_libraries": {"libssl.so.3": {"path": "/var/lang/lib/libssl.so.3"}},
    }
    kept = Recorded.parse(Fields(recorded))
    with_own, without = Baseline.of(PYTHON, kept), Baseline.of(PROVIDED, kept)
    assert (
        with_own.libraries["libc.so.6"] is with_own.libraries["libssl.so.3"] is without.libraries["libc.so.6"] is True
    )
    assert "libssl.so.3" not in without.libraries
    assert "libz.so.1" not in with_own.libraries, "what was recorded takes the place of the data"
    assert with_own.recorded == without.recorded != Baseline.of(PYTHON).recorded == ""


def test_what_is_recorded_is_what_later_checks_go_by(workshop: Workshop, tmp_path: Path) -> None:  # noqa: F811  # a fixture
    special = shared(tmp_path / "lib" / "libspecial.so.1", "int special;", soname="libspecial.so.1")
    artifacts = standard(workshop, module(tmp_path / "fast.so", libraries=[special]).read_bytes())
    with pytest.raises(NativeMismatch):
        check(made(tmp_path, artifacts), workshop, function="shop")
    machine = Machine(system="AL2023", directories=(special.parent,))
    workshop.store.write_json(baseline_record(PROVIDED), survey(PYTHON, machine, [], by="1"))
    later = replace(workshop, _baselines={})  # another build
    assert not check(made(tmp_path, artifacts), later, function="shop").reused
    assert check(made(tmp_path, artifacts), replace(workshop, _baselines={}), function="shop").reused


def test_a_machine_that_is_no_amazon_linux_is_told_of_and_not_recorded(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    here = Machine.here(PYTHON.machine).system
    reply = probe(PYTHON, store, by="1")
    expected = baseline_record(PYTHON) if here == PYTHON.runtime.system else None
    assert reply["recorded"] == expected
    assert (read_json(store, baseline_record(PYTHON)) is None) is (expected is None)
    assert json.dumps(reply)

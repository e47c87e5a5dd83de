"""Native libraries that the runtime lacks, found on the machine that builds, with real files."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import NativeMismatch
from builder.making.assembly import Assembly, Options, assemble, keep
from builder.making.project import read_project
from builder.natives.elf import read_native
from builder.natives.judging import Baseline
from builder.natives.libraries import Collected, Search, collect, differing, read_needing
from builder.natives.machine import Machine
from builder.progress import Progress
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.store.directory import DirectoryStore
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Deadline, Workspace
from tests.natives.native import module, shared
from tests.store.storing import read_json

TARGET = Target(runtime=RUNTIMES["provided.al2023"], architecture=architecture_of(platform.machine()))
BASELINE = Baseline.of(TARGET)


def collected(files: Sequence[tuple[str, Path]], *folders: Path, **values: object) -> Collected:
    arguments: dict[str, object] = {"search": Search(machine=tuple(folders)), "root": "/var/task", **values}
    needing = read_needing(files, "the function's files")
    return collect(needing, **{"target": TARGET, "baseline": BASELINE, **arguments})  # type: ignore[arg-type]


def library(path: Path, *needs: Path, runpath: str = "", flags: Sequence[str] = (), source: str = "") -> Path:
    """A library whose soname is its file's name."""
    source = source or f"int in_{path.name.replace('.', '_').replace('-', '_')};"
    return shared(path, source, soname=path.name, libraries=needs, runpath=runpath, flags=flags)


def of_other_machine(path: Path, copy: Path) -> Path:
    """`path` as a file for a machine that Lambda does not have: e_machine of the ELF header is RISC-V."""
    content = bytearray(path.read_bytes())
    content[18:20] = (243).to_bytes(2, "little")
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
    return copy


def with_new_version(folder: Path, version: str = "GLIBC_2.99", soname: str = "libc.so.6") -> Path:
    """A stand-in for a library of the system that defines a version that no runtime has; to link against."""
    script = folder / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(f"{version} {{ global: brand_new; }};\n")
    return shared(folder / soname, "void brand_new(void) {}", soname=soname, flags=[f"-Wl,--version-script={script}"])


CALLS_NEW = "void brand_new(void); void call(void) { brand_new(); }"


def test_a_chain_is_followed_and_everything_says_who_needs_it(tmp_path: Path) -> None:
    """A needs B needs C; a second file needs C too. What the runtime, the component and a layer have stays out."""
    machine = tmp_path / "machine"
    c = library(machine / "libc3.so.3")
    own, layered = library(tmp_path / "own" / "libown.so.1"), library(machine / "liblayer.so.1")
    b = library(machine / "libb.so.2", c, layered, own)
    first = module(tmp_path / "app" / "first.so", libraries=[b], flags=["-lc"])
    second = module(tmp_path / "app" / "second.so", libraries=[c])
    (tmp_path / "app" / "text").write_text("no ELF")
    files = [("pkg/first.so", first), ("second.so", second), ("text", first.parent / "text"), ("libown.so.1", own)]
    found = collected(files, machine, provided=["liblayer.so.1"])
    assert [(each.name, each.path, each.needed_by) for each in found.libraries] == [
        ("lib/libb.so.2", b, ("pkg/first.so",)),
        ("lib/libc3.so.3", c, ("libb.so.2", "second.so")),
    ]
    assert [each.size for each in found.libraries] == [b.stat().st_size, c.stat().st_size]
    assert (found.missing, found.notes) == ((), ())
    assert collected([*files, *found.files], machine, provided=["liblayer.so.1"]).libraries == (), "a fixpoint"


def test_two_names_of_one_file_are_two_files(tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    real = library(machine / "libreal.so.1")
    (machine / "libalias.so.1").symlink_to(real.name)
    (machine / "libreal.so.1").rename(machine / "libreal.so.1.2.3")
    (machine / "libreal.so.1").symlink_to("libreal.so.1.2.3")
    # The link editor notes the soname, so the other name needs a library that says so when it is linked.
    alias = library(tmp_path / "link" / "libalias.so.1")
    first = module(tmp_path / "first.so", libraries=[machine / "libreal.so.1", alias])
    found = collected([("first.so", first)], machine)
    assert [each.name for each in found.libraries] == ["lib/libalias.so.1", "lib/libreal.so.1"]
    assert len({each.sha256 for each in found.libraries}) == 1
    assert all(not path.resolve().is_symlink() for _, path in found.files)


def test_directories_in_the_order_of_the_dynamic_linker(tmp_path: Path) -> None:
    """DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the machine's; $ORIGIN is where the needing file lies here."""
    places = {name: tmp_path / name for name in ("app/near", "given", "absolute", "machine")}
    for number, place in enumerate(places.values()):
        library(place / "libx.so.1", source=f"int x = {number};")
    search = Search(given=(places["given"],), machine=(places["machine"],))

    def taken(runpath: str, *flags: str, search: Search = search) -> Path:
        app = tmp_path / "app" / "a.so"
        module(app, libraries=[places["machine"] / "libx.so.1"], runpath=runpath, flags=flags)
        (found,) = collected([("bin/a.so", app)], search=search).libraries
        return found.path

    old, new = "-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags"
    nothing_given = replace(search, given=())
    assert taken(f"/nowhere:{places['absolute']}", old) == places["absolute"] / "libx.so.1"
    assert taken("$ORIGIN/near", old) == tmp_path / "app" / "near" / "libx.so.1"
    assert taken("$ORIGIN/near", new) == places["given"] / "libx.so.1"
    assert taken("$ORIGIN/near", new, search=nothing_given) == tmp_path / "app" / "near" / "libx.so.1"
    assert taken("", new, search=nothing_given) == places["machine"] / "libx.so.1"


def test_an_rpath_is_inherited_and_a_runpath_is_not(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    inner = library(hidden / "libinner.so.1")
    outer = library(hidden / "libouter.so.1", inner)
    for dtags, expected in (
        ("--disable-new-dtags", ["libinner.so.1", "libouter.so.1"]),
        ("--enable-new-dtags", ["libouter.so.1"]),
    ):
        app = module(tmp_path / "a.so", libraries=[outer], runpath=str(hidden), flags=[f"-Wl,{dtags}"])
        found = collected([("a.so", app)])
        assert [each.soname for each in found.libraries] == expected
        assert ("libinner.so.1" in found.missing) is (len(expected) == 1)


def test_another_machine_is_passed_over_and_told_if_there_is_no_other(tmp_path: Path) -> None:
    good = library(tmp_path / "good" / "libx.so.1")
    foreign = of_other_machine(good, tmp_path / "foreign" / "libx.so.1")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "libx.so.1").write_text("GROUP ( /lib/libx.so.1 )")
    app = [("a.so", module(tmp_path / "a.so", libraries=[good]))]
    folders = (tmp_path / "text", foreign.parent)
    (found,) = collected(app, *folders, good.parent).libraries
    assert found.path == good
    nothing = collected(app, *folders)
    assert nothing.missing == ("libx.so.1",)
    (note,) = nothing.notes
    assert f"libx.so.1, which a.so needs, is here for EM_RISCV only ({foreign})" in note
    assert f"install it for {TARGET.machine}" in note


def test_what_is_too_new_is_refused_with_file_version_and_fix(tmp_path: Path) -> None:
    """A library of the machine that wants a newer C library, and a file of the project that wants newer C++: both."""
    fake_c = with_new_version(tmp_path / "c")
    fake_cpp = with_new_version(tmp_path / "cpp", "GLIBCXX_3.4.99", "libstdc++.so.6")
    new = library(tmp_path / "machine" / "libnew.so.1", fake_c, source=CALLS_NEW)
    over = library(tmp_path / "machine" / "libover.so.1", new)
    app = module(tmp_path / "a.so", libraries=[over])
    cpp = shared(tmp_path / "cpp.so", CALLS_NEW + "void *PyInit_cpp(void) { return 0; }", libraries=[fake_cpp])
    with pytest.raises(NativeMismatch) as caught:
        collected([("a.so", app), ("cpp.so", cpp)], new.parent)
    own, of_machine = caught.value.problems
    assert "/var/task/cpp.so of the function's files needs GLIBCXX_3.4.99 of libstdc++.so.6" in own
    assert f"/var/task/lib/libnew.so.1 of the build machine ({new}) needs GLIBC_2.99 of libc.so.6" in of_machine
    assert "offers GLIBC_2.34" in of_machine
    for fix in (
        "-static-libstdc++",
        "would not be used, since the runtime's comes first",
        "no newer than the runtime's",
    ):
        assert fix in caught.value.hint


def test_parts_of_the_c_library_are_never_taken(tmp_path: Path) -> None:
    """Neither by name (libnsl.so.1 of old programs) nor if a library knows the inside of its libc."""
    private = with_new_version(tmp_path / "private", "GLIBC_PRIVATE")
    inside = library(tmp_path / "machine" / "libinside.so.1", private, source=CALLS_NEW)
    nsl = library(tmp_path / "machine" / "libnsl.so.1")
    found = collected([("a.so", module(tmp_path / "a.so", libraries=[inside, nsl]))], inside.parent)
    assert found.libraries == ()
    assert found.missing == ("libinside.so.1", "libnsl.so.1")
    assert all("a part of the build machine's C library" in note for note in found.notes)
    assert len(found.notes) == 2


def test_what_the_runtime_may_have_is_taken_if_it_fits_with_all_that_it_needs(tmp_path: Path) -> None:
    """Lambda is believed to have libcurl and libexpat. Neither is reason enough to refuse what works without."""
    assert BASELINE.libraries["libcurl.so.4"] is BASELINE.libraries["libexpat.so.1"] is False
    fake_c = with_new_version(tmp_path / "c")
    machine = tmp_path / "machine"
    too_new = library(machine / "libdeep.so.1", fake_c, source=CALLS_NEW)
    curl = library(machine / "libcurl.so.4", library(machine / "libfine.so.1"), too_new)
    expat = library(machine / "libexpat.so.1", library(machine / "libsmall.so.1"))
    found = collected([("a.so", module(tmp_path / "a.so", libraries=[curl, expat]))], machine)
    assert [each.soname for each in found.libraries] == ["libexpat.so.1", "libsmall.so.1"]
    certain = replace(BASELINE, libraries={**BASELINE.libraries, "libexpat.so.1": True})
    assert collected([("a.so", tmp_path / "a.so")], machine, baseline=certain).libraries == ()


def test_optional_libraries_and_paths_as_names_are_not_looked_for(tmp_path: Path) -> None:
    maybe = library(tmp_path / "machine" / "libmaybe.so.1")
    nameless = shared(tmp_path / "machine" / "libnameless.so", "int nameless;")
    app = module(tmp_path / "a.so", libraries=[maybe, nameless])
    native = read_native(app)
    assert native is not None
    assert str(nameless) in native.needed
    found = collected([("a.so", app)], maybe.parent, optional=["libmaybe.so.1"])
    assert (found.libraries, found.missing) == ((), ())


def test_a_static_program_needs_nothing(tmp_path: Path) -> None:
    program = tmp_path / "bootstrap"
    source = "void _start(void) { for (;;) ; }"
    command = ["gcc", "-static-pie", "-nostdlib", "-x", "c", "-", "-o", str(program)]
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler; install gcc")
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    native = read_native(program)
    assert native is not None
    assert (native.needed, native.interpreter, native.is_program) == ((), "", False)
    assert collected([("bootstrap", program)]) == Collected()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14), there=st.sets(st.integers(1, 5)))
def test_the_closure_is_a_fixpoint(
    edges: set[tuple[int, int]], there: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever needs whatever, cycles included: all that can be reached and is there is taken, and nothing else."""
    folder = tmp_path_factory.mktemp("graph")
    stubs = {number: library(folder / "stubs" / f"libn{number}.so.1") for number in range(1, 6)}
    for number in there:
        needs = [stubs[other] for one, other in sorted(edges) if one == number and other not in (0, number)]
        library(folder / "machine" / f"libn{number}.so.1", *needs)
    app = module(folder / "a.so", libraries=[stubs[other] for one, other in sorted(edges) if one == 0 and other])
    reached, pending = set(), [other for one, other in edges if one == 0 and other]
    while pending:
        number = pending.pop()
        if number not in reached:
            reached.add(number)
            pending += [o for one, o in edges if one == number and o and number in there]
    found = collected([("a.so", app)], folder / "machine")
    assert {each.soname for each in found.libraries} == {f"libn{number}.so.1" for number in reached & there}
    assert set(found.missing) == {f"libn{number}.so.1" for number in reached - there}
    again = collected([("a.so", app), *found.files], folder / "machine")
    assert (again.libraries, again.missing) == ((), found.missing)


def test_the_configuration_of_the_dynamic_linker_is_read(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "ld.so.conf.d").mkdir(parents=True)
    (etc / "ld.so.conf").write_text("include ld.so.conf.d/*.conf\n/opt/a /opt/b:/opt/c=libc6 # and why\nhwcap 1 x\n")
    (etc / "ld.so.conf.d" / "b.conf").write_text("include /etc/more.conf\n/opt/second\n")
    (etc / "ld.so.conf.d" / "a.conf").write_text("/opt/first\ninclude /etc/ld.so.conf.d/a.conf\n")
    (etc / "more.conf").write_text("/opt/more\n")
    (etc / "os-release").write_text('NAME="Amazon Linux"\nID="amzn"\nVERSION_ID="2023"\n')
    machine = Machine.here("aarch64", root=tmp_path)
    names = ["/" + str(folder.relative_to(tmp_path)) for folder in machine.directories]
    configured = ["/opt/first", "/opt/more", "/opt/second", "/opt/a", "/opt/b", "/opt/c"]
    assert names[: len(configured)] == configured
    assert {"/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"} <= set(names[len(configured) :])
    assert machine.system == "AL2023"
    (etc / "os-release").write_text("ID=debian\nVERSION_ID='12'\n")
    assert Machine.here("x86_64", root=tmp_path).system == "debian-12"


# The whole of a component: key, artifact, and what a second build makes of a changed machine.

BUILD = (
    "function:\n  runtimes: [provided.al2023]\n  handler: x\n  files: [bootstrap, ext.so]\n"
    "  architecture: {architecture}\n  native_libraries: auto\n"
    "layers:\n  libs:\n    files: [lib/]\n  made:\n    preinstall: [mkdir -p bin, cp plain.so bin/]\n"
    "    files: [bin/]\n    native_libraries: auto\n"
    "  built:\n    build: {{command: [mkdir -p out, cp plain.so out/], output: out}}\n    native_libraries: auto\n"
)


def build(root: Path, folder: Path, given: Path) -> tuple[Assembly, Workshop]:
    scratch = folder / f"scratch-{len(list(folder.glob('scratch-*')))}"
    scratch.mkdir(parents=True)
    workspace = Workspace(folder / "work")
    workshop = Workshop(
        workspace=workspace,
        scratch=scratch,
        store=DirectoryStore(folder / "store"),
        kept=DirectoryStore(folder / "store"),
        caches=folder / "caches",
        deadline=Deadline.after(60),
        progress=Progress(),
        environment=workspace.child_environment(os.environ, "", scratch / "home"),
        library_path=(given,),
    )
    project = read_project(root, None, commit_time=0)
    made = assemble(project, project.names, workshop, Options())
    keep(made)
    return made, workshop


def test_components_are_completed_and_built_anew_when_the_machine_changes(tmp_path: Path) -> None:
    root, given = tmp_path / "project", tmp_path / "given"
    used = library(given / "libused.so.1")
    layered = library(tmp_path / "elsewhere" / "liblayered.so.1")
    absent = library(tmp_path / "elsewhere" / "libabsent.so.1")
    module(root / "ext.so", libraries=[used, layered])
    shared(root / "plain.so", "int plain;", libraries=[used, absent])
    (root / "lib").mkdir()
    shutil.copy(layered, root / "lib")
    (root / "bootstrap").write_text("#!/usr/bin/env python3\n")
    (root / "build.yaml").write_text(BUILD.format(architecture=TARGET.architecture))

    def outcome() -> tuple[dict[str, str], Assembly, Workshop]:
        made, workshop = build(root, tmp_path / "out", given)
        return {plan.component.name: plan.action for plan in made.plans}, made, workshop

    actions, made, workshop = outcome()
    assert set(actions.values()) == {"build"}
    rows = {name: [dict(row) for row in artifact.native_libraries] for name, artifact in made.artifacts.items()}
    assert rows["libs"] == []
    (of_function,), (of_made,), (of_built,) = rows["function"], rows["made"], rows["built"]
    assert (of_function["library"], of_function["from"]) == ("libused.so.1", str(used))
    assert (of_function["needed_by"], of_made["needed_by"]) == (["ext.so"], ["bin/plain.so"])
    assert (of_built["library"], of_built["needed_by"]) == ("libused.so.1", ["plain.so"])
    with zipfile.ZipFile(workshop.scratch / "function.zip") as archive:
        assert archive.namelist() == ["bootstrap", "ext.so", "lib/libused.so.1"]
        assert archive.read("lib/libused.so.1") == used.read_bytes()
    assert made.artifacts["made"].missing_libraries == ("libabsent.so.1",)
    (interpreter,) = made.artifacts["function"].notes
    assert "bootstrap is a script for /usr/bin/python3, which provided.al2023 does not have" in interpreter

    actions, again, _ = outcome()
    assert set(actions.values()) == {"reuse"}
    assert again.artifacts == made.artifacts

    shutil.copy(absent, given)
    actions, found, _ = outcome()
    assert actions == {"libs": "reuse", "made": "build", "built": "build", "function": "reuse"}
    assert found.artifacts["made"].missing_libraries == ()
    (plan,) = (plan for plan in found.plans if plan.component.name == "made")
    assert plan.why == "libabsent.so.1 of this machine"

    library(used, source="int another_one;")
    actions, changed, workshop = outcome()
    assert actions == {"libs": "reuse", "made": "build", "built": "build", "function": "build"}
    assert changed.artifacts["function"].sha256 != made.artifacts["function"].sha256
    (kept,) = [
        record["inputs"]
        for plan in changed.plans
        if plan.component.name == "function"
        and (record := read_json(workshop.store, f"components/{plan.component.key}.json"))
    ]
    assert "library libused.so.1" in kept


def test_a_changed_machine_is_told(tmp_path: Path) -> None:
    used = library(tmp_path / "libused.so.1")
    (found,) = collected([("a.so", module(tmp_path / "a.so", libraries=[used]))], tmp_path).libraries
    search = Search(machine=(tmp_path,))
    assert differing([found.as_json()], ["libother.so.1"], target=TARGET, search=search) == ()
    of_other_machine(used, tmp_path / "libother.so.1")
    assert differing([found.as_json()], ["libother.so.1"], target=TARGET, search=search) == ()
    used.unlink()
    assert differing([found.as_json()], [], target=TARGET, search=search) == ("libused.so.1",)

"""Finds which libraries, and symbol versions of the C and C++ ones, the builder's own runtime has.

The result is recorded in the store, where later builds for the same system and architecture use it instead of the data
that this version came with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builder.natives.elf import defined_versions, read_soname
from builder.natives.judging import Baseline, baseline_record, newest, shipped
from builder.natives.machine import Machine
from builder.runtimes import Target
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.replies.machines import Baseline as Surveyed
    from builder.replies.machines import Difference, SystemLibrary
    from builder.replies.reply import Reply
    from builder.store.keeping import Store

# The runtime's own libraries; everything else that the dynamic linker knows is the system's.
RUNTIME_FOLDERS = (Path("/var/lang/lib"), Path("/var/runtime"), Path("/var/runtime/lib"))
# The libraries whose versions are compared.
_VERSIONED = ("libc.so.6", "libstdc++.so.6", "libgcc_s.so.1")
_LIBRARY = re.compile(r".+\.so(?:\.\d+)*")


def probe(target: Target, store: Store, *, by: str) -> Reply:
    """Look, record, and return the differences from the data of this version.

    Args:
        target: the runtime of this process.
        by: the builder's version, for the record.

    Returns:
        `baseline` as recorded, `difference {added, missing, versions {family: {known, found}}}`, `recorded`: its name
            in the store. Libraries that the data only believes to be there are not reported missing.
    """
    machine = Machine.here(target.machine)
    found = survey(target, machine, RUNTIME_FOLDERS, by=by)
    # Only where the system is the runtime's: a container image with another system says nothing about Lambda's.
    name = baseline_record(target) if machine.system == target.runtime.system else ""
    if name:
        store.write_json(name, found)
    return {"baseline": found, "difference": difference(target, found), "recorded": name or None}


def survey(target: Target, machine: Machine, runtime: Sequence[Path], *, by: str) -> Surveyed:
    """List the libraries that can be loaded, in the form of the data files in `baselines/`.

    Args:
        runtime: directories of the runtime's own libraries.
    """
    system = _libraries(machine.directories, target.machine)
    versioned = [Path(system[name]["path"]) for name in _VERSIONED if name in system]
    return {
        "system": machine.system,
        "architecture": target.architecture,
        "runtime": target.runtime.name,
        "source": f"recorded by builder {by} in {target.runtime.name}",
        "versions": newest([version for path in versioned for version in defined_versions(path)]),
        "libraries": system,
        "runtime_libraries": _libraries(runtime, target.machine),
    }


def difference(target: Target, found: Surveyed) -> Difference:
    """Return where a survey and the data of this version disagree."""
    data = Fields(shipped(target.runtime.system, target.architecture))
    known, here = Baseline.of(target), found["libraries"]
    versions, before = found["versions"], data.fields("versions").all_texts()
    certain = [soname for soname in data.fields("libraries").value if known.libraries[soname]]
    return {
        "added": sorted(soname for soname in here if not known.libraries.get(soname)),
        "missing": sorted(soname for soname in certain if soname not in here),
        "versions": {
            family: {"known": before.get(family), "found": versions.get(family)}
            for family in sorted({*before, *versions})
            if before.get(family) != versions.get(family)
        },
    }


def _libraries(folders: Iterable[Path], machine: str) -> dict[str, SystemLibrary]:
    """Return {name: {path, soname}} of what the dynamic linker finds by a file's name; the first of several counts."""
    candidates: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _LIBRARY.fullmatch(path.name) and path.is_file():
                candidates.setdefault(path.name, path)
    found: dict[str, SystemLibrary] = {}
    for name, path in sorted(candidates.items()):
        described = read_soname(path)
        if described and described[0] == machine and _is_asked_for(name, described[1] or name):
            found[name] = {"path": str(path), "soname": described[1]}
    return found


def _is_asked_for(name: str, soname: str) -> bool:
    """Tell whether files that need a library could know it by this name of its file.

    Not by libz.so, which is for the link editor, nor by libz.so.1.3, whose soname is libz.so.1.
    """
    return name == soname or not (name.endswith(".so") or name.startswith(f"{soname}."))

"""What children print is read within bounds, whatever listens to it"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from builder.kinds.npm import Npm
from builder.workspace.directory import Deadline

COUNT = 100_000


def test_install_scripts_that_print_for_ever_take_no_memory(tmp_path: Path) -> None:
    workshop = SimpleNamespace(deadline=Deadline.after(60), environment={}, memory_mb=None)
    work = cast("Any", SimpleNamespace(workshop=workshop, listen=lambda _: None))
    npm = Npm(work=work, label="npm", scratch=tmp_path, cache=tmp_path)
    printing = f"for n in range({COUNT}): print(n)"
    lines = npm.run([sys.executable, "-c", printing], tmp_path, "it", environment={"A": "b"})
    assert lines[-1] == str(COUNT - 1)
    assert len(lines) < COUNT / 10

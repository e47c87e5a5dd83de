"""Requirements that name nothing make no layer, since a layer cannot be empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.making.project import Outline, read_project

SINGLE = "function: {runtimes: [python3.13], handler: app.h}\nlayers: {dependencies: [requirements.txt]}\n"
MANY = "functions: {api: {runtimes: [python3.13], handler: app.h, source_dir: api}}\n"


@pytest.mark.parametrize(
    ("build_file", "key", "file"), [(SINGLE, "", "requirements.txt"), (MANY, "api", "api/requirements.txt")]
)
@pytest.mark.parametrize(
    ("text", "empty"), [("", True), ("# none yet\n\n", True), ("idna\n", False), ("-r x.txt\n", False)]
)
def test_requirements_without_a_line_make_no_layer(
    tmp_path: Path, build_file: str, key: str, file: str, text: str, *, empty: bool
) -> None:
    (tmp_path / "api").mkdir()
    for name, content in (("build.yaml", build_file), ("app.py", ""), ("api/app.py", ""), (file, text)):
        (tmp_path / name).write_text(content)
    project = read_project(tmp_path, None, commit_time=0, key=key)
    assert project.names == (("function",) if empty else ("dependencies", "function"))
    assert project.notes == ((f"{file} names nothing to install, so there is no layer of it",) if empty else ())
    # Another process reads the build file again, without the files.
    assert Outline.parse(project.outline.as_json()).names == project.names

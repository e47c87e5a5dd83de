"""What a Lambda function never needs goes; what something kept imports stays."""

from __future__ import annotations

import pytest

from builder.python.prune import RULES, PruneOptions, prune


def removed(files: dict[str, str], options: PruneOptions | None = None) -> dict[str, str]:
    return prune(files, options or PruneOptions(), lambda path: files[path].encode())


def kept(files: dict[str, str], options: PruneOptions | None = None) -> set[str]:
    return set(files) - set(removed(files, options))


def test_rules_can_be_switched_off_and_files_kept() -> None:
    files = dict.fromkeys(("a/x.c", "a/y.c", "a/__pycache__/z.pyc"), "")
    assert kept(files) == set()
    assert kept(files, PruneOptions(disable=("build-inputs",))) == {"a/x.c", "a/y.c"}
    assert kept(files, PruneOptions(keep=("a/x.*",))) == {"a/x.c"}


def test_every_rule_has_an_id_and_a_reason() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.reason for rule in RULES)


def test_bytecode_without_its_source_is_the_program() -> None:
    assert kept({"a/sold.pyc": "", "a/free.pyc": "", "a/free.py": ""}) == {"a/sold.pyc", "a/free.py"}


def test_a_compiler_keeps_its_headers() -> None:
    files = {"ziglang/lib/stdio.h": "", "ziglang-0.17.0.dist-info/METADATA": ""}
    assert kept(files) == set(files)
    assert kept({"fast/api.h": "", "fast-1.dist-info/METADATA": ""}) == {"fast-1.dist-info/METADATA"}


def test_stubs_of_type_checkers_are_data() -> None:
    files = {"mypy/typeshed/os.pyi": "", "a/m.py": "", "a/m.pyi": "", "a/n.cpython-313.so": "", "a/n.pyi": ""}
    assert kept({**files, "x-stubs/y.pyi": ""}) == {"mypy/typeshed/os.pyi", "a/m.py", "a/n.cpython-313.so"}


def test_tests_that_nothing_imports_go_with_their_data() -> None:
    files = {
        "a/__init__.py": "'see the tests'",
        "a/tests/__init__.py": "",
        "a/tests/test_x.py": "import a.tests.helper",
        "a/tests/helper.py": "",
        "a/tests/data/big.csv": "1",
        "a/conftest.py": "from a.tests import helper",
        "a/test/client.py": "",
        "a/test/test_client.py": "",
        "Crypto/SelfTest/x.py": "",
    }
    assert kept(files) == {"a/__init__.py", "a/test/client.py"}


@pytest.mark.parametrize(
    "code",
    [
        "from a.tests.helper import x",
        "from a.tests import helper as h",
        "from .tests import (\n    other,\n    helper,\n)",
        "from . import (\n    b,\n    tests,\n)\nfrom .tests import helper",
        "from .tests.helper import *",
        "import a.tests.helper as h",
        "def f():\n    from a import tests\n    from .tests import helper",
        "import importlib\nimportlib.import_module('a.tests.helper')",
        "import importlib\nimportlib.import_module('.tests.helper', __package__)",
        "PLUGINS = ['a.tests.helper']",
    ],
)
def test_tests_that_something_imports_stay_with_what_they_import(code: str) -> None:
    files = {
        "a/__init__.py": code,
        "a/tests/__init__.py": "",
        "a/tests/helper.py": "from . import deeper",
        "a/tests/deeper.py": "",
        "a/tests/test_x.py": "",
        "a/tests/data.csv": "",
    }
    assert kept(files) == set(files) - {"a/tests/test_x.py", "a/tests/data.csv"}


def test_a_helper_that_reads_files_keeps_them() -> None:
    files = {
        "a/__init__.py": "from a.tests import helper",
        "a/tests/__init__.py": "",
        "a/tests/helper.py": "open(__file__ + 'x')",
        "a/tests/data/x.csv": "",
        "a/tests/test_x.py": "",
        "a/b/tests/y.csv": "",
    }
    assert kept(files) == set(files) - {"a/tests/test_x.py", "a/b/tests/y.csv"}


def test_names_that_a_lazy_package_offers_count_as_imports() -> None:
    files = {
        "a/__init__.py": "NAMES = {'tests'}\ndef __getattr__(name):\n    return load(name)",
        "a/tests/__init__.py": "",
        "b/__init__.py": "import lazy_loader as lazy\n__getattr__, d, a = lazy.attach_stub(__name__, __file__)",
        "b/__init__.pyi": "from . import tests",
        "b/tests/__init__.py": "",
        "c/__init__.py": "NAMES = {'tests'}",
        "c/tests/__init__.py": "",
    }
    assert kept(files) == set(files) - {"c/tests/__init__.py"}


def test_an_entry_point_counts_as_an_import() -> None:
    files = {
        "a/__init__.py": "",
        "a/tests/plugin.py": "",
        "a/tests/test_x.py": "",
        "a-1.dist-info/entry_points.txt": "[pytest11]\na = a.tests.plugin\n",
    }
    assert kept(files) == set(files) - {"a/tests/test_x.py"}


def test_a_distribution_that_is_nothing_but_tests_stays() -> None:
    files = {"tests/__init__.py": "", "tests/x.py": ""}
    assert kept(files) == set(files)
    assert kept({**files, "a/__init__.py": ""}) == {"a/__init__.py"}


def test_docs_that_are_modules_or_served_stay() -> None:
    files = {
        "sdk/client.py": "from sdk.docs.strings import Lazy",
        "sdk/docs/__init__.py": "",
        "sdk/docs/strings.py": "",
        "sdk/docs/conf.py": "",
        "sdk/docs/index.rst": "",
        "README.md": "",
        "LICENSE": "",
        "sdk-1.data/data/share/man/man1/sdk.1": "",
    }
    assert kept(files) == {"sdk/client.py", "sdk/docs/__init__.py", "sdk/docs/strings.py", "LICENSE"}
    served = {"web/app.py": "app.mount('/x', root / 'docs')", "web/docs/index.html": "", "web/docs/notes.md": ""}
    assert kept(served) == set(served)


def test_metadata_and_licences_stay() -> None:
    names = (
        "METADATA",
        "WHEEL",
        "entry_points.txt",
        "top_level.txt",
        "licenses/docs/LICENSE.txt",
        "RECORD",
        "INSTALLER",
    )
    files = {f"a-1.dist-info/{name}": "" for name in names}
    assert set(removed(files)) == {"a-1.dist-info/RECORD", "a-1.dist-info/INSTALLER"}

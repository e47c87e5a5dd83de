#!/usr/bin/env python3
"""Sets up, upgrades and removes the builder: python setup.py init | update | status | probe | destroy | package."""

import importlib.util
import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_VENV = _ROOT / ".venv"
_NEEDED = ("boto3", "rich", "uv")


def _main() -> int:
    # This file also runs on an old Python, so that users get a clear message instead of a SyntaxError.
    if sys.version_info < (3, 11) or any(importlib.util.find_spec(name) is None for name in _NEEDED):
        return _in_venv()
    sys.path.insert(0, str(_ROOT))
    from bootstrap.cli import main
    from builder.network import authorities

    authorities.settle(os.environ)
    return main(sys.argv[1:], os.environ)


def _in_venv() -> int:
    """Restart with the checkout's own Python, which has the dependencies."""
    python = _VENV / "bin" / "python"
    if Path(sys.prefix).resolve() != _VENV and os.access(python, os.X_OK):
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606
    sys.stderr.write(f"setup.py: boto3, rich and uv are not installed\nhint: run `make venv` in {_ROOT}\n")
    return 2


if __name__ == "__main__":
    sys.exit(_main())

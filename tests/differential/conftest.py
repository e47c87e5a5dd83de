"""What takes long runs last."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called with the items of all folders."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

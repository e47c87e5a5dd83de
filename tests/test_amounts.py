"""Sizes, times and long lists as messages have them."""

from __future__ import annotations

import pytest

from builder import amounts


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (amounts.size(999_999), "1000.0 kB"),
        (amounts.size(1_000_000), "1.0 MB"),
        (amounts.storage(999_999_999), "1000.0 MB"),
        (amounts.storage(2_500_000_000), "2.5 GB"),
        (amounts.megabytes(1_234_567_890, ",.1f"), "1,234.6 MB"),
        (amounts.seconds(2.04), "2 s"),
        (amounts.seconds(2.04, 1), "2.0 s"),
        (amounts.some(["a", "b"], 2), "a, b"),
        (amounts.some(["a", "b", "c", "d"], 2), "a, b and 2 more"),
        (amounts.some(["a", "b", "c"], 2, "; "), "a; b; and 1 more"),
        (amounts.some([], 2), ""),
    ],
)
def test_amounts(text: str, wanted: str) -> None:
    assert text == wanted

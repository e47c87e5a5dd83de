"""docs/scale.md says what the simulation prints, and the simulation keeps to the quotas."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import Costs, Quotas, making, parts_of, publishing, simulate, table
from builder.flow.fanout import part_size

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"


def test_the_page_has_what_the_simulation_prints() -> None:
    assert table() in PAGE.read_text(), "run: python -m benchmarks.scale, and paste it into docs/scale.md"


@given(st.integers(1, 3000), st.integers(1, 1000))
def test_parts_have_every_function_once_and_are_made_no_sooner_than_work_and_environments_allow(
    functions: int, concurrency: int
) -> None:
    parts = parts_of(functions, concurrency)
    assert sum(parts) == functions
    assert max(parts) == min(functions, part_size(functions, concurrency)) <= 10
    costs = Costs()
    work = functions * costs.make_s + len(parts) * costs.fetch_s
    seconds = making(parts, concurrency, costs)
    assert seconds >= costs.start_s + work / min(concurrency, len(parts)) - 1e-6
    assert seconds <= costs.start_s + work + 1e-6


@pytest.mark.parametrize("functions", [8, 500, 50_000])
def test_publishing_keeps_to_the_rate_of_the_control_plane(functions: int) -> None:
    quotas, costs = Quotas(), Costs()
    assert functions * costs.publish_calls / publishing(functions, quotas, costs) < quotas.control_plane_per_s
    outcome = simulate(functions)
    assert outcome.publishing_s <= outcome.deploys * quotas.invocation_s

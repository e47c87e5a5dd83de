"""What a first deploy of many functions meets, by AWS's default quotas and the costs that were measured here.

    python -m benchmarks.scale

Prints the table of docs/scale.md. It plays the two halves of a build through, second by second where quotas are rates:
parts that are made by invocations at a time, and functions that are published within Lambda's rate.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

from builder.flow.fanout import part_size

COUNTS = (500, 5_000, 50_000)


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """AWS's defaults, per account and region: Lambda Developer Guide (gettingstarted-limits), Step Functions Developer
    Guide (service-quotas).
    """

    control_plane_per_s: float = 15
    get_function_per_s: float = 100
    invocation_s: float = 900
    code_storage_mb: float = 75 * 1024
    children: int = 10_000


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one function, and of what surrounds it.

    `make_s`: a function with requests and pydantic, of thirty that took 19.1 s (benchmarks/README.md). `found_s` and
    `look_calls`: the last step of twelve functions found all of them made in 0.3 s, and asked GetFunction four times
    for each. `fetch_s`: an invocation's look at the repository and its fetch. `start_s`: a new environment.
    `publish_calls`: CreateFunction, and a layer's share.
    """

    make_s: float = 0.6
    start_s: float = 1.5
    fetch_s: float = 0.5
    found_s: float = 0.03
    publish_calls: float = 1.1
    look_calls: float = 4.0
    zip_mb: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A first deploy: seconds until all is made, and of the last step; how many deploys until all are published.

    `storage` is the share of the account's code storage.
    """

    functions: int
    parts: int
    making_s: float
    alone_s: float
    publishing_s: float
    deploys: int
    storage: float
    transitions: int


def parts_of(functions: int, concurrency: int) -> list[int]:
    """Return the sizes of the parts, as `builder.flow.fanout` cuts them."""
    size = part_size(functions, concurrency)
    return [min(size, functions - at) for at in range(0, functions, size)]


def making(parts: list[int], concurrency: int, costs: Costs) -> float:
    """Return the seconds until the last part is made, with so many environments, each of which starts once."""
    free = [costs.start_s] * min(concurrency, len(parts))
    heapq.heapify(free)
    for part in parts:
        heapq.heappush(free, heapq.heappop(free) + costs.fetch_s + part * costs.make_s)
    return max(free)


def publishing(functions: int, quotas: Quotas, costs: Costs) -> float:
    """Return the seconds of the last step: it finds what was made, looks at the functions and publishes them."""
    looking = functions * costs.look_calls / quotas.get_function_per_s
    calls = functions * costs.publish_calls / quotas.control_plane_per_s
    return costs.fetch_s + functions * costs.found_s + looking + calls


def simulate(
    functions: int, *, concurrency: int = 20, quotas: Quotas | None = None, costs: Costs | None = None
) -> Outcome:
    """Play one first deploy through."""
    quotas, costs = quotas or Quotas(), costs or Costs()
    parts = parts_of(functions, concurrency)
    last = publishing(functions, quotas, costs)
    return Outcome(
        functions=functions,
        parts=len(parts),
        making_s=making(parts, concurrency, costs),
        alone_s=costs.start_s + costs.fetch_s + functions * costs.make_s,
        publishing_s=last,
        deploys=math.ceil(last / quotas.invocation_s),
        storage=functions * costs.zip_mb / quotas.code_storage_mb,
        transitions=2 * len(parts) + 4,
    )


def table() -> str:
    """Return the outcomes as a Markdown table."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| functions | parts | made in one invocation, s | made by 20, s | last step, s | deploys | code storage |"
    yield "|--:|--:|--:|--:|--:|--:|--:|"
    for count in COUNTS:
        one = simulate(count)
        yield (
            f"| {one.functions:,} | {one.parts:,} | {one.alone_s:,.0f} | {one.making_s:,.0f} | {one.publishing_s:,.0f} "
            f"| {one.deploys} | {one.storage:.0%} |"
        )


if __name__ == "__main__":
    print(table(), end="")

"""What a proposal's build has made, or said, stands for nothing once the commit, or another one, is the owners' own"""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.errors import WorkerFailed
from builder.flow.order import Order
from builder.flow.workers import _expected
from builder.making.product import Unchanged
from builder.sources.snapshot import Resolved
from builder.workspace.domains import Domain
from tests.e2e.conftest import Builder
from tests.security.test_leftovers import HANDLER, function
from tests.security.test_malicious import layer_content

# What it gives is not decided by the commit alone, as with any code that may ask the network or the clock.
LAYER = (
    "layers:\n  made:\n    preinstall: ['python -c \"import time; print(time.time_ns())\" > made.txt']\n"
    "    files: [made.txt]\n"
)


def test_what_a_proposal_has_made_of_a_commit_is_made_again_when_the_commit_was_taken(tenancy: Builder) -> None:
    name, forge = "taken", tenancy.forge
    forge.push(name, {"build.yaml": function(tenancy.runtime), "lambda_function.py": HANDLER})
    proposed = forge.push(name, {"build.yaml": function(tenancy.runtime) + LAYER}, branch="proposal")
    bare = forge.root / f"{name}.git"
    forge._git("update-ref", "refs/pull/7/head", proposed, cwd=bare)
    forge._git("update-ref", "-d", "refs/heads/proposal", cwd=bare)
    first = tenancy.build(name, ref="refs/pull/7/head")
    assert first["statusCode"] == 200, first
    forge._git("update-ref", "refs/heads/main", proposed, cwd=bare)
    second = tenancy.build(name)
    assert second["statusCode"] == 200, second
    assert second["commit"] == first["commit"] == proposed
    assert {row["name"]: row["action"] for row in second["artifacts"]}["made"] == "build"
    made = [layer_content(tenancy, reply, "made", "made.txt") for reply in (first, second)]
    assert made[0] != made[1]
    third = tenancy.build(name)
    assert {row["action"] for row in third["artifacts"]} == {"reuse"}
    assert third["changed"] == []


PROPOSED = Resolved(url="https://git.example.com/team/shop", ref="refs/pull/7/head", commit="a" * 40)
ORDER = Order(source=PROPOSED, domain=Domain(name="repository x at a", keeps=False, vouched=False), function="shop")


def test_a_worker_speaks_of_the_commit_that_it_was_given() -> None:
    """Else a proposal could have itself recorded as the owners' commit, whose own build then had nothing to do."""
    lie = Unchanged(commit="b" * 40, ref="refs/heads/main")
    said = _expected(lie, replace(ORDER, known=("c" * 40,)))
    assert (said.commit, said.ref) == (PROPOSED.commit, PROPOSED.ref)
    with pytest.raises(WorkerFailed, match="nothing to compare with"):
        _expected(lie, ORDER)

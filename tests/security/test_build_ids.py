"""A build id that someone used before gives no answer for another function: ids may be guessed and taken in advance"""

from __future__ import annotations

from tests.e2e.conftest import Builder
from tests.security.test_leftovers import HANDLER, function


def test_taking_a_build_id_in_advance_keeps_no_other_function_from_being_built(tenancy: Builder) -> None:
    for name in ("squatter", "squatted"):
        tenancy.forge.push(name, {"build.yaml": function(tenancy.runtime), "lambda_function.py": HANDLER})
    first = tenancy.build("squatter", build_id="pipeline-7")
    assert first["statusCode"] == 200, first
    second = tenancy.build("squatted", build_id="pipeline-7")
    assert second["error"]["code"] == "invalid_event", second
    assert "another function" in second["error"]["message"]
    assert tenancy.build("squatter", build_id="pipeline-7")["commit"] == first["commit"]
    assert tenancy.build("squatted", build_id="pipeline-8")["statusCode"] == 200

"""Every layer's name says whose it is: no two functions share one, and a pattern of functions covers theirs alone."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.spec.layer_names import layer_name, layer_pattern, own_prefix

# Few characters, so that what could be confused is.
NAMES = st.text("ab-_", min_size=1, max_size=6)
PATTERNS = st.builds(lambda name, end: name + end, NAMES, st.sampled_from(["", "*"])) | st.just("*")


def test_ordinary_names_are_joined_as_they_are() -> None:
    assert layer_name("shop-api", "dependencies") == "shop-api--dependencies"
    assert layer_name("my_function", "big_data") == "my_function--big_data"


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_two_functions_have_a_layer_of_one_name(one: str, its: str, other: str, others: str) -> None:
    same = (one, its) == (other, others)
    assert (layer_name(one, its) == layer_name(other, others)) is same
    assert layer_name(other, others).startswith(own_prefix(one)) is (one == other)
    assert layer_name(one, its).count("--") == 1


@given(NAMES, NAMES, PATTERNS)
def test_a_pattern_of_functions_covers_their_layers_and_no_others(function: str, layer: str, pattern: str) -> None:
    covered = fnmatchcase(function, pattern)
    assert fnmatchcase(layer_name(function, layer), layer_pattern(pattern)) is covered, layer_name(function, layer)


@pytest.mark.parametrize("layer", ["lambdasmith-layer", "smith-layer"])
def test_a_builders_own_layer_is_no_functions(layer: str) -> None:
    assert not fnmatchcase(layer, layer_pattern("*"))

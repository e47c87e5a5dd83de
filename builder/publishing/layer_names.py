"""How the layers of a function are called."""

from __future__ import annotations


def layer_name(function: str, layer: str) -> str:
    """The name under which the layer of a function is published."""
    return f"{own_prefix(function)}{layer}"


def own_prefix(function: str) -> str:
    """What the names of all layers of a function begin with."""
    return f"{function}-"

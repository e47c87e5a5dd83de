"""Names of a function's layers: FUNCTION--LAYER.

Functions' names may have every character that layers' names may have, so a plain joint would not tell where one ends:
`shop` with a layer `api-x` and `shop-api` with a layer `x`. Here `--` is the joint, once and nowhere else: a `-` or
`_` behind a `-` gets a `_` before it. So a pattern of IAM that covers some functions covers only their layers.
"""

from __future__ import annotations

import re

_JOINT = "--"


def layer_name(function: str, layer: str) -> str:
    """Return the name under which the layer of a function is published."""
    return own_prefix(function) + _escaped(f"-{layer}")[1:]


def own_prefix(function: str) -> str:
    """Return the beginning of the names of all layers of a function, and of no other function."""
    return f"{_ended(_escaped(function))}{_JOINT}"


def layer_pattern(functions: str) -> str:
    """Return the pattern, in IAM's syntax, of the layers' names of all functions that a pattern covers."""
    return f"{own_prefix(functions)}*"


def _escaped(text: str) -> str:
    return re.sub(r"(?<=-)(?=[-_])", "_", text)


def _ended(text: str) -> str:
    return f"{text}_" if text.endswith("-") else text

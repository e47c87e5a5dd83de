"""How the layers of a function are called: FUNCTION--LAYER.

Functions' names may have every character that layers' names may have, so that a plain joint would not tell where the
one ends: `shop` with a layer `api-x` and `shop-api` with a layer `x`. Here `--` is the joint, once and nowhere else: a
`-` or `_` behind a `-` gets a `_` before it. So a pattern of IAM that covers some functions covers their layers alone.
"""

from __future__ import annotations

import re

_JOINT = "--"


def layer_name(function: str, layer: str) -> str:
    """The name under which the layer of a function is published."""
    return own_prefix(function) + _escaped(f"-{layer}")[1:]


def own_prefix(function: str) -> str:
    """What the names of all layers of a function begin with, and of no other function."""
    return f"{_ended(_escaped(function))}{_JOINT}"


def layer_pattern(functions: str) -> str:
    """The pattern of the layers' names of all functions that a pattern covers, as IAM has patterns."""
    return f"{own_prefix(functions)}*"


def _escaped(text: str) -> str:
    return re.sub(r"(?<=-)(?=[-_])", "_", text)


def _ended(text: str) -> str:
    return f"{text}_" if text.endswith("-") else text

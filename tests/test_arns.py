"""What is read off ARNs."""

from __future__ import annotations

import pytest

from builder.arns import Arn, layer_of, name_of_layer

LAYER = "arn:aws-cn:lambda:cn-north-1:123456789012:layer:shop--dependencies:7"


def test_an_arn_in_its_parts_and_back() -> None:
    found = Arn.read(LAYER)
    assert found == ("aws-cn", "lambda", "cn-north-1", "123456789012", "layer:shop--dependencies:7")
    assert str(found) == LAYER
    assert Arn.read("arn:aws:s3:::bucket/key:with:colons").resource == "bucket/key:with:colons"


def test_a_layer_version_is_of_a_layer() -> None:
    assert layer_of(LAYER) == LAYER.removesuffix(":7")
    assert name_of_layer(LAYER) == "shop--dependencies"


@pytest.mark.parametrize("text", ["", "shop", "arn:aws:lambda", "urn:aws:s3:::bucket", "123456789012:function:shop"])
def test_what_is_no_arn(text: str) -> None:
    assert Arn.find(text) is None
    with pytest.raises(ValueError, match="not an ARN"):
        Arn.read(text)

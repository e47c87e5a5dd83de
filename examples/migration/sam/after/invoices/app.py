"""Renders the invoice in the request's body."""

import json
import os
from decimal import Decimal

from jinja2 import Template
from pydantic import BaseModel, ValidationError

INVOICE = Template(
    "{% for line in lines %}{{ line.text }}: {{ line.price }}\n{% endfor %}total: {{ total }} {{ currency }}\n"
)


class Line(BaseModel):
    text: str
    price: Decimal


class Order(BaseModel):
    lines: list[Line]


def lambda_handler(event, context):
    try:
        order = Order.model_validate_json(event["body"])
    except ValidationError as error:
        return {"statusCode": 400, "body": json.dumps({"errors": error.error_count()})}
    total = sum(line.price for line in order.lines)
    currency = os.environ.get("CURRENCY", "EUR")
    return {"statusCode": 200, "body": INVOICE.render(lines=order.lines, total=total, currency=currency)}

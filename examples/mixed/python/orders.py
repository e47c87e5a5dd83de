"""Takes an order: {"cents": 1250} → {"total": "12.50 EUR"}."""

import os

import money


def handler(event, context):
    return {"total": money.written(event["cents"], os.environ.get("CURRENCY", "EUR"))}

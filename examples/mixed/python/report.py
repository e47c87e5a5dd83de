"""Adds up orders: {"orders": [1250, 250]} → {"orders": 2, "total": "15.00 EUR"}."""

import money


def handler(event, context):
    return {"orders": len(event["orders"]), "total": money.written(sum(event["orders"]), "EUR")}

"""Writes a receipt."""

import os

import money


def handler(event, context):
    return f"You paid {money.written(event.get('cents', 0), os.environ['CURRENCY'])}."

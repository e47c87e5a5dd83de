"""Writes a note about a refund."""

import money


def handler(event, context):
    return f"You get {money.written(event.get('cents', 0), 'EUR')} back."

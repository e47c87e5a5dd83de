"""Takes an order."""

import money
import ulid


def handler(event, context):
    return {"order": str(ulid.ULID()), "total": money.written(event.get("cents", 0), "EUR")}

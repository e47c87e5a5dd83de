"""Batches of a Distributed Map's items, made by its ItemBatcher."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from moto.stepfunctions.parser.asl.utils.json_path import extract_json

MAX_INPUT_BYTES = 256 * 1024  # of an execution


class Batches:
    """Batches of items, by the fields of an ItemBatcher and the Map state's input. `common` is in each.

    https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html
    """

    def __init__(self, batcher: Mapping[str, Any], state_input: Any, common: Mapping[str, Any]) -> None:
        def limit(name: str) -> int | None:
            path = batcher.get(f"{name}Path")
            return int(extract_json(path, state_input)) if path else batcher.get(name)

        self._most_items = limit("MaxItemsPerBatch") or sys.maxsize
        self._most_bytes = min(limit("MaxInputBytesPerBatch") or MAX_INPUT_BYTES, MAX_INPUT_BYTES)
        self._common = common

    def of(self, items: list[Any]) -> Iterator[tuple[Any, int]]:
        """Yield the input of each batch and how many items it has."""
        batch: list[Any] = []
        base = size = len(text({**self._common, "Items": []}))
        for item in items:
            more = len(text(item)) + bool(batch)
            if batch and (len(batch) == self._most_items or size + more > self._most_bytes):
                yield {**self._common, "Items": batch}, len(batch)
                batch, size, more = [], base, len(text(item))
            batch.append(item)
            size += more
        if batch:
            yield {**self._common, "Items": batch}, len(batch)


def text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

"""What a reply tells deploy.sh, which has bash, sed and awk and no reader of JSON.

`text.shell` has one line for each thing that the script shows or decides by: a name, a blank, a value. The whole is
percent-encoded and the last member of the reply, so the script finds it from the end of what it received, and no string
in a reply, whatever a project or a function put there, can be taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from builder.characters import visible_line
from builder.flow.phrases import Value, files_of, part_of, rows_of, text_of
from builder.flow.report import meant

if TYPE_CHECKING:
    from builder.replies.reply import Texts

# The characters that stand for themselves: printable ASCII without the percent sign and what JSON would escape.
_PLAIN = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"
# Components, as build files name them; a name is part of a path on the user's disk.
_COMPONENT = re.compile(r"[A-Za-z0-9_-]+")


def shell(reply: Value, said: Texts) -> str:
    """Return the member `text.shell` of a reply; `said` is what `report.texts` makes of it."""
    lines = [f"{name} {visible_line(value)}" for name, value in _fields(reply) if value]
    for kind, text in (("plain", said["plain"]), ("colour", said["colour"]), ("times", said["times"])):
        lines += [f"{kind} {line}" for line in text.removesuffix("\n").split("\n") if text]
    return quote("\n".join(lines), safe=_PLAIN, errors="replace")


def _fields(reply: Value) -> Iterator[tuple[str, str]]:
    build, ended = part_of(reply, "build"), meant(reply)
    yield "status", text_of(ended, "statusCode")
    yield "code", text_of(part_of(ended, "error"), "code")
    if build:
        running = text_of(build, "state") == "running"
        # A build whose builder was killed has ended without a reply.
        yield "state", "running" if running else "ended" if part_of(build, "reply") else "lost"
        yield "progress", ": ".join(filter(None, (text_of(build, "phase"), text_of(build, "message"))))
        yield "message", text_of(build, "message")
        yield "stoppable", "true" if running and build.get("execution") else ""
    yield "commit", text_of(ended, "commit")
    yield "differs", "true" if part_of(ended, "verify").get("same") is False else ""
    way = part_of(ended, "rollback")
    yield "back_to", text_of(part_of(way, "then"), "build_id")
    yield "alias", text_of(way, "alias")
    for name in ("bucket", "prefix"):
        yield name, text_of(part_of(ended, "settings"), name)
    yield from (("zip", line) for line in _zips(ended))
    template = part_of(ended, "template")
    if template:
        words = (text_of(template, name) for name in ("sha256", "bucket", "key"))
        yield "zip", f"template.{text_of(template, 'name').rpartition('.')[2]} template {' '.join(words)} 1 file"
    for row in rows_of(ended, "functions"):
        key = text_of(row, "key")
        if _COMPONENT.fullmatch(key):
            yield from (("zip", f"{key}/{line}") for line in _zips(row))


def _zips(packaged: Value) -> Iterator[str]:
    """Yield for each zip: its file, component, sha256, bucket, key, and how many files it has."""
    places = {text_of(row, "name"): row for row in rows_of(packaged, "packages")}
    for row in rows_of(packaged, "artifacts"):
        name = text_of(row, "name")
        if name in places and _COMPONENT.fullmatch(name):
            file = "function.zip" if name == "function" else f"layers/{name}.zip"
            where = f"{text_of(places[name], 'bucket')} {text_of(places[name], 'key')}"
            yield f"{file} {name} {text_of(row, 'sha256')} {where} {files_of(row)}"

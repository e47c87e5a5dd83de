"""`eol=crlf` in .gitattributes: the one attribute that changes the files of `git archive` on every machine.

Only for content that must have the same bytes as git's archive, such as a Go module. A checkout of ours leaves files
as they were committed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from builder.sources.commits import Commit, Commits
from builder.sources.gitlib.files import Attributes
from builder.sources.objects import Content

# An attributes file is read into memory, and its patterns are compiled.
_MAX_BYTES = 1 << 20
_FILE = ".gitattributes"
# Git's own test for text looks at the beginning only.
_LOOKED_AT = 8000


class Linefeeds:
    """The line ends of one commit's files. Hold the repository's lock."""

    def __init__(self, repository: Commits, commit: Commit) -> None:
        def rules(directory: str) -> bytes:
            path = f"{directory}/{_FILE}" if directory else _FILE
            return repository.read(commit, path, _MAX_BYTES) or b""

        self._attributes = Attributes(rules)

    def applied(self, path: str, content: Content) -> Iterable[bytes]:
        """Return the content of the file at `path` (posix, from the root) as git's archives have it."""
        found = self._attributes.of(path)
        text, eol = found.get("text"), found.get("eol")
        if eol != "crlf" or text is False:
            return content.chunks
        whole = b"".join(content.chunks)
        if text == "auto" and (b"\0" in whole[:_LOOKED_AT] or b"\r" in whole):
            return (whole,)
        return (re.sub(rb"(?<!\r)\n", b"\r\n", whole),)

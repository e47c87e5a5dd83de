"""Code objects as bytes that depend only on the code.

`marshal` writes which objects are identical, which are interned, and which are referenced elsewhere. All three depend
on the history of the process (https://github.com/python/cpython/issues/78274), so code is rebuilt here: equal constants
become one object, names are interned and nothing else is.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import marshal
import re
import sys
from collections.abc import Hashable, Iterator
from types import CodeType
from typing import cast

# Constants that the compiler always interns.
_LIKE_A_NAME = re.compile(r"[A-Za-z0-9_]*\Z")


def dumps(code: CodeType) -> bytes:
    """Return the marshalled form of `code`."""
    rebuilt = _Rebuilt(code)
    data = marshal.dumps(rebuilt.code)
    # Objects that this function still references always count as shared.
    rebuilt.known.clear()
    return data


class _Rebuilt:
    def __init__(self, code: CodeType) -> None:
        self._names = {name for each in _nested(code) for name in _names(each)}
        self.known: dict[Hashable, object] = {}
        self.code = self._code(code)

    def _code(self, code: CodeType) -> CodeType:
        rebuilt = code.replace(
            co_consts=tuple(
                self._code(item) if isinstance(item, CodeType) else self._value(item) for item in code.co_consts
            ),
            co_names=tuple(map(sys.intern, code.co_names)),
            co_varnames=tuple(map(sys.intern, code.co_varnames)),
            co_freevars=tuple(map(sys.intern, code.co_freevars)),
            co_cellvars=tuple(map(sys.intern, code.co_cellvars)),
            co_filename=cast("str", self._value(code.co_filename)),
            co_name=sys.intern(code.co_name),
            co_qualname=sys.intern(code.co_qualname),
            co_linetable=cast("bytes", self._value(code.co_linetable)),
            co_exceptiontable=cast("bytes", self._value(code.co_exceptiontable)),
        )
        self.known[id(rebuilt)] = rebuilt
        return rebuilt

    def _value(self, item: object) -> object:
        """Return the one object for all constants equal to `item`."""
        key: Hashable
        if isinstance(item, str):
            if item in self._names or _LIKE_A_NAME.match(item):
                return sys.intern(item)
            key = item
        elif isinstance(item, tuple | frozenset):
            inner = [self._value(element) for element in item]
            item = type(item)(inner)
            key = (type(item), type(item)(map(id, inner)))
        elif isinstance(item, float | complex):
            key = (type(item), repr(item))  # 0.0 and -0.0 compare equal, but are different constants
        elif isinstance(item, bytes | int) and not isinstance(item, bool):
            key = (type(item), item)
        else:
            return item
        return self.known.setdefault(key, item)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from _nested(item)


def _names(code: CodeType) -> Iterator[str]:
    yield from (code.co_name, code.co_qualname)
    yield from code.co_names
    yield from code.co_varnames
    yield from code.co_freevars
    yield from code.co_cellvars

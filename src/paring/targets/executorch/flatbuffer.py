"""Reads a flatbuffer by the text of its schema, which packages ship where they ship no reader.

https://flatbuffers.dev/internals: a table begins with the offset of its vtable, which holds the offset of each field, 0
where the field is left out; every other offset counts from where it stands.
"""

import re
import struct
from typing import Any

_SCALARS = {
    "bool": "?", "byte": "b", "ubyte": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "long": "q",
    "ulong": "Q", "uint64": "Q", "int64": "q", "float": "f", "double": "d",
}  # fmt: skip


class Schema:
    """Enums, unions and tables of a `.fbs` file.

    Args:
        text: its content.
    """

    def __init__(self, text: str) -> None:
        text = re.sub(r"//[^\n]*", "", text)
        self._enums = {name: (kind, _numbered(body)) for name, kind, body in _blocks(r"enum (\w+)\s*:\s*(\w+)", text)}
        self._unions = {name: _members(body) for name, body in _blocks(r"union (\w+)", text)}
        self._tables = {name: self._slots(body) for name, body in _blocks(r"table (\w+)", text)}
        self._root = re.findall(r"root_type (\w+);", text)[0]

    def read(self, data: bytes) -> dict[str, Any]:
        """The root table as a dictionary; enums by name, unions as (member, table), what is left out as None.

        Raises:
            ValueError, struct.error, KeyError: `data` is no such flatbuffer.
        """
        return self._table(self._root, data, _offset(data, 0))

    def _slots(self, body: str) -> list[tuple[str, str, int]]:
        found, slot = [], 0
        for name, kind in re.findall(r"(\w+)\s*:\s*(\[?\w+\]?)[^;]*;", body):
            union = kind in self._unions
            found.append((name, kind, slot))
            slot += 2 if union else 1  # which member, and the member
        return found

    def _table(self, name: str, data: bytes, at: int) -> dict[str, Any]:
        vtable = at - _number("i", data, at)
        length = _number("H", data, vtable)

        def where(slot: int) -> int:
            entry = 4 + 2 * slot
            return at + step if entry < length and (step := _number("H", data, vtable + entry)) else 0

        found: dict[str, Any] = {}
        for field, kind, slot in self._tables[name]:
            if kind in self._unions:
                which, place = where(slot), where(slot + 1)
                member = _number("B", data, which) if which else 0
                label, table = self._unions[kind][member]
                found[field] = (label, self._table(table, data, _offset(data, place))) if member and place else None
            else:
                place = where(slot)
                found[field] = self._value(kind, data, place) if place else self._default(kind)
        return found

    def _value(self, kind: str, data: bytes, at: int) -> Any:
        if kind in _SCALARS:
            return _number(_SCALARS[kind], data, at)
        if kind in self._enums:
            base, names = self._enums[kind]
            return names[_number(_SCALARS[base], data, at)]
        start = _offset(data, at)
        if kind in self._tables:
            return self._table(kind, data, start)
        count = _number("I", data, start)
        if kind == "string":
            return data[start + 4 : start + 4 + count].decode()
        inner = kind.strip("[]")
        size = struct.calcsize(_SCALARS.get(inner, "I"))
        if start + 4 + count * size > len(data):
            raise ValueError("a vector ends behind the data")
        return [self._value(inner, data, start + 4 + i * size) for i in range(count)]

    def _default(self, kind: str) -> Any:
        if kind in self._enums:
            return self._enums[kind][1][0]
        return 0 if kind in _SCALARS else [] if kind.startswith("[") else None


def _blocks(head: str, text: str) -> list[Any]:
    return re.findall(head + r"\s*\{([^}]*)\}", text)


def _numbered(body: str) -> dict[int, str]:
    return {int(number): name for name, number in re.findall(r"(\w+)\s*=\s*(\d+)", body)}


def _members(body: str) -> list[tuple[str, str]]:
    """(label, table) by number; 0 stands for none."""
    pairs = re.findall(r"(\w+)\s*(?::\s*(\w+))?\s*(?:,|$)", body.strip())
    return [("NONE", ""), *((label, table or label) for label, table in pairs)]


def _number(code: str, data: bytes, at: int) -> Any:
    if at < 0:
        raise ValueError("an offset points before the data")
    return struct.unpack_from(f"<{code}", data, at)[0]


def _offset(data: bytes, at: int) -> int:
    step: int = _number("I", data, at)
    return at + step

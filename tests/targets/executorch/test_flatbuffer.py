"""Reading a flatbuffer by its schema."""

import struct

import numpy as np
import pytest
from flatbuffers import Builder
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.targets.executorch.flatbuffer import Schema

SCHEMA = Schema("""
enum Colour : short { red = 0, green = 1 }  // of something
union Shape { Ball, Box: Ball }
table Ball { radius:float; unused:int (deprecated); name:string; }
table Thing { colour:Colour; shape:Shape; sizes:[uint]; parts:[Ball]; }
root_type Thing;
""")


def _thing(radius: float, name: str, sizes: list[int]) -> bytes:
    builder = Builder()
    text = builder.CreateString(name)
    builder.StartObject(3)
    builder.PrependFloat32Slot(0, radius, 0.0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    ball = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(ball)
    parts = builder.EndVector()
    vector = builder.CreateNumpyVector(np.array(sizes, np.uint32))
    builder.StartObject(5)
    builder.PrependInt16Slot(0, 1, 0)
    builder.PrependUint8Slot(1, 2, 0)
    builder.PrependUOffsetTRelativeSlot(2, ball, 0)
    builder.PrependUOffsetTRelativeSlot(3, vector, 0)
    builder.PrependUOffsetTRelativeSlot(4, parts, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


@settings(deadline=None, max_examples=50)
@given(st.floats(width=32, allow_nan=False), st.text(max_size=9), st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_what_was_written_is_read(radius: float, name: str, sizes: list[int]) -> None:
    ball = {"radius": radius, "unused": 0, "name": name}
    wanted = {"colour": "green", "shape": ("Box", ball), "sizes": sizes, "parts": [ball]}
    assert SCHEMA.read(_thing(radius, name, sizes)) == wanted


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_damage_is_an_error_or_another_value(data: st.DataObject) -> None:
    content = bytearray(_thing(1.5, "ball", [1, 2, 3]))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        SCHEMA.read(bytes(content))
    except (ValueError, struct.error, KeyError, IndexError):
        return


def test_a_vector_longer_than_the_data_is_refused() -> None:
    content = bytearray(_thing(1.5, "ball", [7, 7, 7]))
    at = content.index(struct.pack("<IIII", 3, 7, 7, 7))
    content[at : at + 4] = struct.pack("<I", 2**30)
    with pytest.raises(ValueError, match="behind the data"):
        SCHEMA.read(bytes(content))

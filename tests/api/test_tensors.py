import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.tensors import join_elements, split_elements
from app.errors import InvalidInput


@given(st.lists(st.binary()))
def test_elements_come_back_as_they_were(elements: list[bytes]) -> None:
    assert split_elements(memoryview(join_elements(elements)), "field") == elements


def test_the_form_on_the_wire() -> None:
    assert join_elements([b"ab", b""]) == struct.pack("<I2sI", 2, b"ab", 0)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(InvalidInput):
        assert join_elements(split_elements(memoryview(data), "field")) == data


@given(st.lists(st.binary(min_size=1), min_size=1), st.data())
def test_what_is_cut_off_is_refused(elements: list[bytes], data: st.DataObject) -> None:
    whole = join_elements(elements)
    last = len(elements[-1]) + 4
    kept = data.draw(st.integers(len(whole) - last + 1, len(whole) - 1))
    with pytest.raises(InvalidInput):
        split_elements(memoryview(whole[:kept]), "field")

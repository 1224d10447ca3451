"""Character sets: texts that Python's codecs of nearly the same name do not know, shown, searched and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binwire import record_values
from broker.charsets import CODECS, decode, encode
from broker.render import value_text
from broker.search.cells import encodings

HOLES = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
"""Bytes of MySQL's latin1 that Windows-1252 does not have."""


def test_every_byte_is_a_character_of_latin1_and_no_two_are_the_same():
    text = decode(bytes(range(256)), "latin1")
    assert len(set(text)) == 256
    assert [text[byte] for byte in HOLES] == [chr(byte) for byte in HOLES]
    assert text[0x80] == "€"
    assert encode(text, "latin1") == bytes(range(256))


@pytest.mark.parametrize(
    ("text", "charset", "content"),
    [
        ("caf\xe9 \x81", "latin1", b"caf\xe9 \x81"),
        ("똠방각하", "euckr", b"\x8cc\xb9\xe6\xb0\xa2\xc7\xcf"),  # its first syllable is in Windows-949 only
    ],
)
def test_a_text_is_shown_and_searched_in_all_of_its_character_set(text, charset, content):
    assert decode(content, charset) == text
    assert encode(text, charset) == content
    shown = value_text({"class": "Character", "charset": charset, "value": content})
    assert shown == text
    found = encodings(text)
    assert found is not None
    assert content in found


@pytest.mark.parametrize("charset", ["latin1", "ascii", "gbk"])
def test_what_is_no_character_is_refused(charset):
    with pytest.raises(UnicodeEncodeError):
        encode("\U0001f375", charset)


@pytest.mark.parametrize("charset", sorted(record_values.CODECS))
@given(content=st.binary(max_size=8))
def test_whoever_decodes_a_record_reads_the_same(charset, content):
    cell = b"".join(bytes([2 * len(part)]) + part for part in (charset.encode(), content))
    try:
        expected: str | bytes = decode(content, charset)
    except UnicodeDecodeError:
        expected = content
    reader = record_values.READERS[2]
    assert reader(cell, 0) == (expected, len(cell))


def test_every_character_set_of_records_is_one_here():
    assert CODECS.keys() >= record_values.CODECS.keys()

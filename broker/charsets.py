"""MySQL's character sets, by their names there, as codecs of Python: texts to bytes and back.

Where Python has no codec, the ASCII half is read; swe7 has none. MySQL's latin1 is Windows-1252, and each of the five
bytes that this leaves out is the control character of its number (strings/ctype-latin1.cc of MySQL 8.0.36); its euckr
has all of Windows-949 (strings/ctype-euc_kr.cc); its ucs2, utf16 and utf32 are big-endian.
"""

from __future__ import annotations

from codecs import charmap_build, charmap_decode, charmap_encode
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LATIN1: Final = "latin1"
CODECS: Final[Mapping[str, str]] = {
    "armscii8": "ascii",
    "ascii": "ascii",
    "big5": "big5",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "dec8": "ascii",
    "eucjpms": "euc_jp",
    "euckr": "cp949",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "geostd8": "ascii",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "hp8": "hp_roman8",
    "keybcs2": "ascii",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    LATIN1: "cp1252",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
    "sjis": "shift_jis",
    "tis620": "tis_620",
    "ucs2": "utf_16_be",
    "ujis": "euc_jp",
    "utf16": "utf_16_be",
    "utf16le": "utf_16_le",
    "utf32": "utf_32_be",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}
"""Use `decode` and `encode`, which know what no codec of Python does."""

_LATIN1_CHARACTERS: Final = "".join(
    chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in range(0x100)
)
_LATIN1_BYTES: Final = charmap_build(_LATIN1_CHARACTERS)


def decode(content: bytes, charset: str) -> str:
    """A text in one of the character sets of CODECS. Raises UnicodeDecodeError where it is not valid there."""
    if charset == LATIN1:
        return charmap_decode(content, "strict", _LATIN1_CHARACTERS)[0]
    return content.decode(CODECS[charset])


def encode(text: str, charset: str) -> bytes:
    """The way back. Raises UnicodeEncodeError for a character that the character set does not have."""
    if charset == LATIN1:
        return charmap_encode(text, "strict", _LATIN1_BYTES)[0]
    return text.encode(CODECS[charset])

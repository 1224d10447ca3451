"""Character sets and collations of MySQL 5.1 to 9.7 and MariaDB 10.0 to 11, by id and by name.

Source: `information_schema.collations` of MySQL 5.6.24 and 9.7.4 and MariaDB 10.11, whose ids agree wherever both have
one, except MariaDB's five Croatian ones. Ids are stored in binlogs, so no version ever gives one to something else.
Regular families are computed from one list: the UCA 4.0.0 languages (a block of 24 ids per Unicode charset), MariaDB's
NO PAD collations (id + 1024) and its UCA 14.0.0 ones (2048 + 256 × charset + 8 × language + accents, case, padding).

Names are the server's own at its version: `utf8` was renamed `utf8mb3` in MySQL 8.0.28 (its collations in 8.0.30) and
in MariaDB 10.6. `Charsets(dialect)` answers for one server; nothing here knows about tables.
"""

from functools import lru_cache

from msgspec import Struct

from capture.dialect import Dialect

_UTF8_RENAMED = (8, 0, 28)
_UTF8_COLLATIONS_RENAMED = (8, 0, 30)
_UTF8_RENAMED_MARIADB = (10, 6, 0)
_UTF8MB4_0900_IS_DEFAULT = (8, 0, 1)
_SERVER_IS_UTF8MB4_MARIADB = (11, 6, 0)
_UCA1400_IS_DEFAULT_MARIADB = (11, 5, 0)  # default of character_set_collations
_NO_PAD = 1024
_UCA1400 = 2048


class Collation(Struct, frozen=True):
    """A collation: `name` and `charset` as the server reports them."""

    id: int
    name: str
    charset: str


class Charset(Struct, frozen=True):
    """A charset row. `collations` is "id:suffix …", default first; `codec` is Python's, None: ASCII and a few more."""

    name: str
    bytes_per_character_max: int
    codec: str | None
    collations: str
    language_block: int | None = None  # first id of the UCA 4.0.0 languages


_ROWS = (
    Charset("big5", 2, "big5", "1:chinese_ci 84:bin"),
    Charset("latin2", 1, "iso8859-2", "9:general_ci 2:czech_cs 21:hungarian_ci 27:croatian_ci 77:bin"),
    Charset("dec8", 1, "latin-1", "3:swedish_ci 69:bin"),
    Charset("cp850", 1, "cp850", "4:general_ci 80:bin"),
    Charset(
        "latin1",
        1,
        "cp1252",
        "8:swedish_ci 5:german1_ci 15:danish_ci 31:german2_ci 47:bin 48:general_ci 49:general_cs 94:spanish_ci",
    ),
    Charset("hp8", 1, "hp-roman8", "6:english_ci 72:bin"),
    Charset("koi8r", 1, "koi8-r", "7:general_ci 74:bin"),
    Charset("swe7", 1, None, "10:swedish_ci 82:bin"),
    Charset("ascii", 1, "ascii", "11:general_ci 65:bin"),
    Charset("ujis", 3, "euc_jp", "12:japanese_ci 91:bin"),
    Charset("sjis", 2, "shift_jis", "13:japanese_ci 88:bin"),
    Charset("cp1251", 1, "cp1251", "51:general_ci 14:bulgarian_ci 23:ukrainian_ci 50:bin 52:general_cs"),
    Charset("hebrew", 1, "iso8859-8", "16:general_ci 71:bin"),
    Charset("tis620", 1, "tis-620", "18:thai_ci 89:bin"),
    Charset("euckr", 2, "cp949", "19:korean_ci 85:bin"),
    Charset("latin7", 1, "iso8859-13", "41:general_ci 20:estonian_cs 42:general_cs 79:bin"),
    Charset("koi8u", 1, "koi8-u", "22:general_ci 75:bin"),
    Charset("gb2312", 2, "gb2312", "24:chinese_ci 86:bin"),
    Charset("greek", 1, "iso8859-7", "25:general_ci 70:bin"),
    Charset("cp1250", 1, "cp1250", "26:general_ci 34:czech_cs 44:croatian_ci 66:bin 99:polish_ci"),
    Charset("gbk", 2, "gbk", "28:chinese_ci 87:bin"),
    Charset("cp1257", 1, "cp1257", "59:general_ci 29:lithuanian_ci 58:bin"),
    Charset("latin5", 1, "iso8859-9", "30:turkish_ci 78:bin"),
    Charset("armscii8", 1, None, "32:general_ci 64:bin"),
    Charset("utf8mb3", 3, "utf-8", "33:general_ci 83:bin 76:tolower_ci 223:general_mysql500_ci", 192),
    Charset("ucs2", 2, "utf-16-be", "35:general_ci 90:bin 159:general_mysql500_ci", 128),
    Charset("cp866", 1, "cp866", "36:general_ci 68:bin"),
    Charset("keybcs2", 1, None, "37:general_ci 73:bin"),
    Charset("macce", 1, "mac_latin2", "38:general_ci 43:bin"),
    Charset("macroman", 1, "mac_roman", "39:general_ci 53:bin"),
    Charset("cp852", 1, "cp852", "40:general_ci 81:bin"),
    Charset(
        "utf8mb4",
        4,
        "utf-8",
        "45:general_ci 46:bin 278:0900_as_cs 305:0900_as_ci 309:0900_bin 255:0900_ai_ci 303:ja_0900_as_cs"
        " 304:ja_0900_as_cs_ks 308:zh_0900_as_cs",
        224,
    ),
    Charset("utf16", 4, "utf-16-be", "54:general_ci 55:bin", 101),
    Charset("utf16le", 4, "utf-16-le", "56:general_ci 62:bin"),
    Charset("cp1256", 1, "cp1256", "57:general_ci 67:bin"),
    Charset("utf32", 4, "utf-32-be", "60:general_ci 61:bin", 160),
    Charset("binary", 1, "utf-8", "63:"),
    Charset("geostd8", 1, None, "92:general_ci 93:bin"),
    Charset("cp932", 2, "cp932", "95:japanese_ci 96:bin"),
    Charset("eucjpms", 3, "euc_jp", "97:japanese_ci 98:bin"),
    Charset("gb18030", 4, "gb18030", "248:chinese_ci 249:bin 250:unicode_520_ci"),
)

_LANGUAGES = [
    f"{language}_ci"
    for language in (
        *("unicode", "icelandic", "latvian", "romanian", "slovenian", "polish", "estonian", "spanish", "swedish"),
        *("turkish", "czech", "danish", "lithuanian", "slovak", "spanish2", "roman", "persian", "esperanto"),
        *("hungarian", "sinhala", "german2", "croatian", "unicode_520", "vietnamese"),
    )
]
_CROATIAN = _LANGUAGES.index("croatian_ci")
_MARIADB_LANGUAGES = {"utf8mb3": 576, "utf8mb4": 608, "ucs2": 640, "utf16": 672, "utf32": 736}
_UCA1400_CHARSETS = ("utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32")
_UCA1400_LANGUAGES = (
    *("", "icelandic", "latvian", "romanian", "slovenian", "polish", "estonian", "spanish", "swedish", "turkish"),
    *("czech", "danish", "lithuanian", "slovak", "spanish2", "roman", "persian", "esperanto", "hungarian", "sinhala"),
    *("german2", None, None, "vietnamese", "croatian"),
)
# utf8mb4 languages of UCA 9.0.0: (first id, languages); accent-insensitive ones, then accent-sensitive ones.
_UCA900_AI = (256, "de_pb is lv ro sl pl et es sv tr cs da lt sk es_trad la - eo hu hr - vi")
_UCA900_AS = (279, _UCA900_AI[1])
_UCA900_LATER = (306, "ru - nb nn sr_latn bs bg gl mn_cyrl")


class Charsets:
    """The charsets of one server. Names go in under any spelling the server takes and come out as it reports them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._rows = {row.name: row for row in _ROWS}
        self._by_id: dict[int, Collation] = {}
        self._by_name: dict[str, Collation] = {}
        for row in _ROWS:
            for collation_id, suffix in _suffixes(row, dialect):
                self._add(collation_id, row.name, suffix)

    def _add(self, collation_id: int, charset: str, suffix: str) -> None:
        prefix = "utf8" if charset == "utf8mb3" and not self._has(_UTF8_COLLATIONS_RENAMED) else charset
        name = f"{prefix}_{suffix}" if suffix else prefix
        collation = Collation(collation_id, name, self._reported(charset))
        self._by_id[collation_id] = collation
        self._by_name[f"{charset}_{suffix}"] = collation

    def _has(self, version: tuple[int, int, int]) -> bool:
        return self._dialect.version >= (_UTF8_RENAMED_MARIADB if self._dialect.is_mariadb else version)

    def _reported(self, charset: str) -> str:
        return "utf8" if charset == "utf8mb3" and not self._has(_UTF8_RENAMED) else charset

    def charset(self, name: str) -> str:
        """Return the server's name for a charset. Raises KeyError if it knows none of that name."""
        return self._reported(self._rows[_charset_key(name)].name)

    def collation(self, name: str) -> Collation:
        """Find a collation by name. Raises KeyError."""
        folded = name.lower()
        if folded.startswith("utf8_"):
            folded = "utf8mb3_" + folded.removeprefix("utf8_")
        return self._by_name["binary_" if folded == "binary" else folded]

    def collation_by_id(self, collation_id: int) -> Collation | None:
        return self._by_id.get(collation_id)

    def default_collation(self, charset: str) -> Collation:
        """Return the collation that a charset alone stands for. Raises KeyError."""
        row = self._rows[_charset_key(charset)]
        if self._dialect.is_mariadb and self._dialect.version >= _UCA1400_IS_DEFAULT_MARIADB:
            if row.name in _UCA1400_CHARSETS:
                return self._by_name[f"{row.name}_uca1400_ai_ci"]
        elif (
            row.name == "utf8mb4" and not self._dialect.is_mariadb and self._dialect.version >= _UTF8MB4_0900_IS_DEFAULT
        ):
            return self._by_name["utf8mb4_0900_ai_ci"]
        return self._by_id[int(row.collations.split(":")[0])]

    def server_default(self) -> Collation:
        """Return the collation_server of a server nobody configured."""
        since = _SERVER_IS_UTF8MB4_MARIADB if self._dialect.is_mariadb else _UTF8MB4_0900_IS_DEFAULT
        return self.default_collation("utf8mb4" if self._dialect.version >= since else "latin1")

    def binary_collation(self, charset: str) -> Collation:
        """Return a charset's `_bin` collation, which the BINARY attribute stands for."""
        key = _charset_key(charset)
        return self._by_name["binary_" if key == "binary" else f"{key}_bin"]

    def bytes_per_character_max(self, charset: str) -> int:
        return self._rows[_charset_key(charset)].bytes_per_character_max


def _charset_key(name: str) -> str:
    folded = name.lower()
    return "utf8mb3" if folded == "utf8" else folded


def _suffixes(row: Charset, dialect: Dialect) -> list[tuple[int, str]]:
    """List a charset's collations as (id, name without the charset)."""
    found = [(int(number), suffix) for number, _, suffix in (item.partition(":") for item in row.collations.split())]
    if row.language_block is not None:
        found += [(row.language_block + index, suffix) for index, suffix in enumerate(_LANGUAGES)]
    if row.name == "utf8mb4" and not dialect.is_mariadb:
        found += _uca900()
    if not dialect.is_mariadb:
        return found
    if row.language_block is not None:
        first = _MARIADB_LANGUAGES[row.name]
        found[found.index((row.language_block + _CROATIAN, "croatian_ci"))] = (
            row.language_block + _CROATIAN,
            "croatian_mysql561_ci",
        )
        found += [(first, "croatian_ci"), (first + 1, "myanmar_ci"), (first + 2, "thai_520_w2")]
    found += [(number + _NO_PAD, _no_pad(suffix)) for number, suffix in found if suffix]
    if row.name in _UCA1400_CHARSETS:
        found += _uca1400(_UCA1400 + 256 * _UCA1400_CHARSETS.index(row.name))
    return found


def _no_pad(suffix: str) -> str:
    head, _, tail = suffix.rpartition("_")
    return f"{head}_nopad_{tail}" if head else f"nopad_{tail}"


def _uca900() -> list[tuple[int, str]]:
    found = [
        (first + index, f"{language}_0900_{strength}")
        for (first, languages), strength in ((_UCA900_AI, "ai_ci"), (_UCA900_AS, "as_cs"))
        for index, language in enumerate(languages.split())
        if language != "-"
    ]
    first, languages = _UCA900_LATER
    for index, language in enumerate(languages.split()):
        if language != "-":
            found += [(first + 2 * index, f"{language}_0900_ai_ci"), (first + 2 * index + 1, f"{language}_0900_as_cs")]
    return found


def _uca1400(first: int) -> list[tuple[int, str]]:
    found = []
    for index, language in enumerate(_UCA1400_LANGUAGES):
        if language is None:
            continue
        stem = f"uca1400_{language}_" if language else "uca1400_"
        for flags in range(8):
            padding = "nopad_" if flags & 4 else ""
            strength = ("as_" if flags & 2 else "ai_") + ("cs" if flags & 1 else "ci")
            found.append((first + 8 * index + flags, stem + padding + strength))
    return found


@lru_cache(maxsize=8)
def charsets(dialect: Dialect) -> Charsets:
    """Return the charsets of a server, made once."""
    return Charsets(dialect)


_INEXACT = frozenset(
    {"big5", "ujis", "sjis", "eucjpms", "gb18030", "tis620", "greek", "hebrew", "koi8u", "cp866", "cp1256"}
    | {"dec8", "swe7", "armscii8", "geostd8", "keybcs2"}
)
"""Charsets of which Python has another idea than MySQL for a few characters, or none at all."""
_ROW_BY_COLLATION: dict[int, Charset] = {}


def decode_sql(sql: bytes, collation_id: int) -> str:
    """Decode a statement by its client's collation id (the Query event's first charset number).

    Bytes that the charset does not have become U+FFFD: a name with one then fits no table, and capture stops there
    instead of guessing. An id nobody knows is read as utf8mb4.
    """
    # No client charset gives ASCII bytes another meaning.
    return sql.decode("ascii") if sql.isascii() else decode_text(sql, collation_id)


def decode_text(text: bytes, collation_id: int) -> str:
    """Decode text of any charset, UTF-16 and the like included, by a collation id; undecodable bytes become U+FFFD.

    Text of the charset binary counts as UTF-8, as servers take it where they need characters.
    """
    row = _row_of(collation_id)
    return text.decode("utf-8" if row is None else row.codec or "latin-1", "replace")


def certain_text(text: bytes, collation_id: int) -> str | None:
    """Decode as `decode_text`; None where the server may read other characters in these bytes."""
    row = _row_of(collation_id)
    shown = decode_text(text, collation_id)
    if row is None or "\ufffd" in shown:
        return None
    plain = all(one.isascii() and (one.isalnum() or one in " _-") for one in shown)
    return None if row.name in _INEXACT and not plain else shown


def _row_of(collation_id: int) -> Charset | None:
    if not _ROW_BY_COLLATION:
        dialect = Dialect("mariadb", (10, 11, 0))
        for row in _ROWS:
            _ROW_BY_COLLATION.update(dict.fromkeys((number for number, _ in _suffixes(row, dialect)), row))
            _ROW_BY_COLLATION.update(dict.fromkeys((number for number, _ in _uca900_of(row)), row))
    return _ROW_BY_COLLATION.get(collation_id)


def _uca900_of(row: Charset) -> list[tuple[int, str]]:
    return _uca900() if row.name == "utf8mb4" else []

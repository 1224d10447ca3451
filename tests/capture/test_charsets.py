"""Names and ids of charsets and collations: against real servers, and at the versions where names changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.charsets import certain_text, charsets, decode_sql, decode_text
from capture.dialect import Dialect
from tests.live_server import LiveServer

QUERY = "SELECT collation_name, character_set_name, id, is_default FROM information_schema.collations"
QUERY_MARIADB = (
    "SELECT full_collation_name, character_set_name, id, is_default "
    "FROM information_schema.collation_character_set_applicability"
)


def test_every_collation_of_a_server(server: LiveServer):
    known = charsets(Dialect.of(server.version))
    rows = server.execute(QUERY_MARIADB if server.flavour == "mariadb" else QUERY)
    assert len(rows) > 200
    for name, charset, collation_id, is_default in rows:
        collation = known.collation_by_id(collation_id)
        assert collation is not None, name
        assert (collation.name, collation.charset) == (name, charset)
        assert known.collation(name) is collation
        if is_default == "Yes":
            assert known.default_collation(charset) is collation


def test_every_charset_of_a_server(server: LiveServer):
    known = charsets(Dialect.of(server.version))
    rows = server.execute("SHOW CHARACTER SET")
    assert len(rows) >= 40
    for name, _, default, bytes_max in rows:
        assert known.charset(name) == name
        assert known.default_collation(name).name == default
        assert known.bytes_per_character_max(name) == bytes_max


@pytest.mark.parametrize(
    ("version", "charset", "collation"),
    [
        ("5.5.62", "utf8", "utf8_bin"),
        ("5.7.44-log", "utf8", "utf8_bin"),
        ("8.0.27", "utf8", "utf8_bin"),
        ("8.0.28", "utf8mb3", "utf8_bin"),
        ("8.0.30", "utf8mb3", "utf8mb3_bin"),
        ("9.7.0", "utf8mb3", "utf8mb3_bin"),
        ("10.5.15-MariaDB-1:10.5.15+maria~focal-log", "utf8", "utf8_bin"),
        ("5.5.5-10.6.1-MariaDB", "utf8mb3", "utf8mb3_bin"),
    ],
)
def test_the_server_names_utf8_by_its_version(version, charset, collation):
    known = charsets(Dialect.of(version))
    for spelling in ("utf8", "UTF8", "utf8mb3"):
        assert known.charset(spelling) == charset
        assert known.default_collation(spelling).charset == charset
        assert known.binary_collation(spelling).name == collation
    assert known.collation("utf8_bin") is known.collation("UTF8MB3_BIN") is known.collation_by_id(83)


@pytest.mark.parametrize(
    ("version", "default"),
    [
        ("5.7.44", "utf8mb4_general_ci"),
        ("8.0.4", "utf8mb4_0900_ai_ci"),
        ("10.11.6-MariaDB", "utf8mb4_general_ci"),
        ("11.8.2-MariaDB", "utf8mb4_uca1400_ai_ci"),
    ],
)
def test_the_default_collation_of_utf8mb4(version, default):
    assert charsets(Dialect.of(version)).default_collation("utf8mb4").name == default


@pytest.mark.parametrize(
    ("version", "default"),
    [
        ("5.7.44", "latin1_swedish_ci"),
        ("8.0.4", "utf8mb4_0900_ai_ci"),
        ("11.5.2-MariaDB", "latin1_swedish_ci"),
        ("11.8.2-MariaDB", "utf8mb4_uca1400_ai_ci"),
    ],
)
def test_the_default_collation_of_a_server(version, default):
    assert charsets(Dialect.of(version)).server_default().name == default


def test_binary_has_one_collation():
    known = charsets(Dialect.of("9.7.0"))
    assert known.default_collation("binary").name == known.binary_collation("BINARY").name == "binary"
    assert known.collation_by_id(63) is known.collation("binary")


def test_unknown_names():
    known = charsets(Dialect.of("9.7.0"))
    assert known.collation_by_id(4095) is None
    for ask in (known.charset, known.collation, known.default_collation, known.bytes_per_character_max):
        with pytest.raises(KeyError):
            ask("klingon")


@pytest.mark.parametrize(
    ("codec", "collation_id"),
    [
        ("utf-8", 33),
        ("utf-8", 45),
        ("utf-8", 255),
        ("utf-8", 4095),
        ("gbk", 28),
        ("big5", 1),
        ("cp1252", 8),
        ("cp1251", 51),
    ],
)
def test_statements_are_decoded_by_their_clients_charset(codec, collation_id):
    text = (
        "CREATE TABLE `Ж`" if codec == "cp1251" else "CREATE TABLE `é`" if codec == "cp1252" else "ALTER TABLE `訂單`"
    )
    assert decode_sql(text.encode(codec), collation_id) == text


@pytest.mark.parametrize(
    ("collation_id", "codec"), [(35, "utf-16-be"), (54, "utf-16-be"), (56, "utf-16-le"), (60, "utf-32-be")]
)
def test_labels_may_be_in_charsets_no_client_has(collation_id, codec):
    assert decode_text("größe".encode(codec), collation_id) == "größe"


def test_a_backslash_within_a_multibyte_character_is_no_escape():
    # 0x5C ends this character of gbk: read byte by byte, it would escape the closing quote
    assert decode_sql(b"SELECT '\xd5\x5c'", 28) == "SELECT '誠'"


@given(st.binary(max_size=40), st.sampled_from([1, 8, 13, 28, 33, 45, 63, 95, 248, 4095]))
def test_any_bytes_decode_to_text_that_can_be_stored(sql, collation_id):
    decode_sql(sql, collation_id).encode()


def test_statements_of_a_binary_client_are_utf8():
    """What servers take them for: `SET NAMES binary` and then a table named in UTF-8."""
    sql = "CREATE TABLE `订单` (e ENUM('é'))"
    assert decode_sql(sql.encode(), 63) == sql


def two_bytes(charset: str) -> list[bytes]:
    """Every byte, and for the charsets with more of them to a character every pair that is one."""
    single = [bytes([one]) for one in range(0x100)]
    if charset not in {"gbk", "gb2312", "euckr", "cp932"}:
        return single
    return single + [bytes([lead, trail]) for lead in range(0x81, 0xFF) for trail in range(0x40, 0xFF)]


EIGHT_BITS = ["latin1", "latin2", "latin5", "latin7", "ascii", "cp850", "cp852", "cp1250", "cp1251", "cp1257"]
EIGHT_BITS += ["hp8", "koi8r", "macce", "macroman"]


@pytest.mark.parametrize("name", [*EIGHT_BITS, "gbk", "gb2312", "euckr", "cp932"])
def test_what_is_certain_is_what_the_server_reads(mysql97: LiveServer, name: str):
    known = charsets(Dialect.of(mysql97.version))
    number, samples, certain = known.default_collation(name).id, two_bytes(name), 0
    for first in range(0, len(samples), 1000):
        part = samples[first : first + 1000]
        asked = ", ".join(f"HEX(CONVERT(CONVERT(x'{one.hex()}' USING {name}) USING utf8mb4))" for one in part)
        (shown,) = mysql97.execute(f"SELECT {asked}")
        for sample, wanted in zip(part, shown, strict=True):
            text = certain_text(sample, number)
            if text is None or wanted is None:
                continue
            assert text.encode().hex().upper() == wanted, sample
            certain += 1
    assert certain >= 120


def test_text_of_charsets_that_python_reads_otherwise_is_certain_only_where_it_is_plain():
    by_name = {name: charsets(Dialect("mysql", (9, 7, 0))).default_collation(name).id for name in ("swe7", "sjis")}
    assert certain_text(b"large-1 a_b", by_name["swe7"]) == "large-1 a_b"
    assert certain_text(b"{", by_name["swe7"]) is None
    assert certain_text(b"\x81\x5f", by_name["sjis"]) is None
    assert certain_text("订".encode(), 63) == "订"
    assert certain_text(b"\xff", 63) is None
    assert certain_text(b"a", 65000) is None

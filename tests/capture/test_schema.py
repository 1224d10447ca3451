"""The schema history: versions by position, names, tables from elsewhere, what is not known, the catalog, TABLE_MAPs.

What single statements make of a table is compared with real servers in test_schema_oracle.py; here is what no server
can be asked.
"""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from capture.ddl import parse
from capture.dialect import Dialect
from capture.errors import SchemaMismatch, UnsupportedStatement
from capture.query_event import QueryStatus
from capture.schema import (
    FOREIGN_TABLES_MAX,
    Change,
    Column,
    DefinitionsNotLoaded,
    Key,
    SchemaHistory,
    Session,
    TableVersion,
)
from capture.selection import Selection
from capture.statements import Unknown
from capture.table_map import FieldType, KeyPart, OptionalMetadata, TableMapEvent
from storage.catalog import Catalog

MYSQL97 = Dialect("mysql", (9, 7, 0))
MYSQL57 = Dialect("mysql", (5, 7, 44))
MARIADB = Dialect("mariadb", (10, 11, 6))
ORDERS = (
    "CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY, price DECIMAL(10,2), name VARCHAR(20) NOT NULL,"
    " UNIQUE (name))"
)


class Scene:
    """A history, and statements run one after the other, each 10 bytes further on."""

    def __init__(self, objects=("shop",), dialect=MYSQL97, **settings):
        self.dialect = dialect
        self.settings = settings
        self.selection = Selection(objects, settings.get("lower_case_table_names", 0))
        self.history = self.new_history()
        self.position = (1, 100)

    def new_history(self):
        return SchemaHistory(self.dialect, self.selection, **self.settings)

    def run(self, sql, database="shop", **session):
        self.position = (self.position[0], self.position[1] + 10)
        statements = parse(sql, session.get("sql_mode", 0), self.dialect)
        return self.history.apply(statements, Session(database, **session), self.position, sql)

    def columns(self, table, database="shop"):
        return [column.name for column in self.history.table(database, table).columns]


@pytest.fixture
def scene():
    return Scene()


# ---- versions ----


def test_a_change_has_the_version_after_it(scene):
    (created,) = scene.run(ORDERS)
    assert (created.database, created.table) == ("shop", "orders")
    (altered,) = scene.run("ALTER TABLE orders ADD note TEXT")
    assert altered == Change("shop", "orders", scene.history.table("shop", "orders"))
    assert altered.new != created.new
    (dropped,) = scene.run("DROP TABLE orders")
    assert dropped == Change("shop", "orders", None)
    with pytest.raises(SchemaMismatch, match=r"does not know the table shop\.orders"):
        scene.history.table("shop", "orders")


def test_a_version_holds_from_the_end_of_its_statement(scene):
    scene.run(ORDERS)
    first = scene.position
    scene.run("ALTER TABLE orders DROP price")
    second = scene.position
    history = scene.new_history()
    history.restore(scene.history.take_rows("channel"))
    assert len(history.table_at("shop", "orders", first).columns) == 3
    assert len(history.table_at("shop", "orders", (1, second[1] - 1)).columns) == 3
    assert len(history.table_at("shop", "orders", second).columns) == 2
    assert len(history.table_at("shop", "orders", (2, 4)).columns) == 2
    with pytest.raises(SchemaMismatch):
        history.table_at("shop", "orders", (1, first[1] - 1))


def test_a_statement_without_effect_makes_no_version(scene):
    scene.run(ORDERS)
    for sql in (
        "ALTER TABLE orders ENGINE=InnoDB",
        "ALTER TABLE orders FORCE",
        "TRUNCATE orders",
        "ANALYZE TABLE orders",
    ):
        assert scene.run(sql) == ()


def test_the_meta_version_changes_with_every_schema_change(scene):
    seen = {scene.run(ORDERS)[0].new.meta_version}
    for operation in (
        "ADD a INT",
        "ALTER a SET DEFAULT 5",
        "MODIFY a INT UNSIGNED DEFAULT 5",
        "ADD INDEX (a)",
        "RENAME COLUMN a TO b",
        "MODIFY name VARCHAR(21) NOT NULL",
        "MODIFY name VARCHAR(21) CHARACTER SET gbk NOT NULL",
        "DEFAULT CHARSET gbk",
        "ALTER b SET INVISIBLE",
        "RENAME orders2",
    ):
        sql = f"ALTER TABLE orders {operation}"
        meta_version = scene.run(sql)[-1].new.meta_version
        assert meta_version not in seen, operation
        assert 0 < meta_version < 2**32
        seen.add(meta_version)


def test_the_meta_version_is_stable():
    """Consumers keep it across our restarts and upgrades: a change of text or figure is a change of the format."""
    text = (
        '{"database":"shop","table":"t","charset":"utf8mb4","collation":"utf8mb4_bin",'
        '"columns":[{"name":"id","data_type":"bigint","nullable":false}],'
        '"keys":[{"name":"PRIMARY","columns":["id"],"unique":true}]}'
    )
    columns = (Column("id", "bigint", nullable=False),)
    keys = (Key("PRIMARY", ("id",), unique=True),)
    table = TableVersion.of("shop", "t", columns, keys, "utf8mb4", "utf8mb4_bin")
    assert table.to_json() == text
    assert table == TableVersion.from_json(text)
    assert table.meta_version == zlib.crc32(text.encode()) == 2901602473


# ---- the tag of keys ----


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("CREATE TABLE t (id INT PRIMARY KEY)", '{"PRIMARY":["id"]}'),
        (
            "CREATE TABLE t (a INT, b INT, UNIQUE uk (b), PRIMARY KEY (b, a), KEY (a))",
            '{"PRIMARY":["b","a"],"uk":["b"]}',
        ),
        ("CREATE TABLE t (a INT, `商品` INT UNIQUE)", '{"商品":["商品"]}'),
        ("CREATE TABLE t (a INT, KEY (a))", None),
        ("CREATE TABLE t (a INT, UNIQUE KEY f ((a + 1)))", None),
    ],
)
def test_pk_uk_info(scene, sql, tag):
    assert scene.run(sql)[0].new.pk_uk_info() == tag


# ---- names ----


@pytest.mark.parametrize("setting", [1, 2])
def test_lower_case_table_names(setting):
    scene = Scene(("Shop",), lower_case_table_names=setting)
    (created,) = scene.run("CREATE TABLE Orders (Id INT)", database="SHOP")
    expected = ("shop", "orders") if setting == 1 else ("SHOP", "Orders")
    assert (created.new.database, created.new.table) == expected
    assert scene.run("ALTER TABLE sHOP.ORDERS ADD b INT")[0].new != created.new
    assert scene.columns("orders") == scene.columns("ORDERS", "SHOP") == ["Id", "b"]
    scene.run("DROP TABLE orders", database="shop")
    assert scene.history.tables_of("shop") == []


def test_case_matters_where_the_server_says_so(scene):
    scene.run("CREATE TABLE a (x INT)")
    scene.run("CREATE TABLE A (y INT)")
    assert (scene.columns("a"), scene.columns("A")) == (["x"], ["y"])


def test_the_default_database_is_that_of_the_statement(scene):
    scene.run("CREATE TABLE t (a INT)", database="elsewhere")
    scene.run("CREATE TABLE shop.t (b INT)", database="elsewhere")
    assert scene.columns("t") == ["b"]


# ---- tables that come from elsewhere ----


def test_shadow_tables_are_renamed_into_place():
    scene = Scene(("shop.orders",))
    scene.run(ORDERS)
    scene.run("CREATE TABLE _orders_gho LIKE orders")
    scene.run("ALTER TABLE _orders_gho ADD note TEXT")
    changes = scene.run("RENAME TABLE orders TO _orders_del, _orders_gho TO orders")
    assert [(change.table, change.new is None) for change in changes] == [
        ("orders", True),
        ("_orders_del", False),
        ("_orders_gho", True),
        ("orders", False),
    ]
    assert scene.columns("orders") == ["id", "price", "name", "note"]
    scene.run("DROP TABLE _orders_del")
    assert scene.columns("orders") == ["id", "price", "name", "note"]


def test_a_table_comes_from_an_untracked_database(scene):
    scene.run("CREATE TABLE staging.t (a INT)")
    assert scene.run("ALTER TABLE staging.t ADD b INT") == ()
    scene.run("RENAME TABLE staging.t TO shop.t")
    scene.run("CREATE TABLE staging.u (c INT)")
    scene.run("CREATE TABLE shop.v LIKE staging.u")
    assert (scene.columns("t"), scene.columns("v")) == (["a", "b"], ["c"])
    with pytest.raises(SchemaMismatch):
        scene.history.table("staging", "t")


@pytest.mark.parametrize(
    "sql", ["RENAME TABLE old.t TO shop.t", "ALTER TABLE old.t RENAME shop.t", "CREATE TABLE shop.t LIKE old.t"]
)
def test_a_table_from_where_nobody_looked_is_unresolved(scene, sql):
    (change,) = scene.run(sql)
    assert change.new is None
    assert "old.t" in change.unresolved
    assert "position 110 of binlog file 1" in change.unresolved
    with pytest.raises(SchemaMismatch, match=r"the definition of shop\.t is not known since .*old\.t"):
        scene.history.table("shop", "t")


def test_renaming_a_view_is_no_table_from_elsewhere(scene):
    assert scene.run("RENAME TABLE some_view TO other_view") == ()


def test_few_untracked_tables_are_remembered(scene):
    for number in range(FOREIGN_TABLES_MAX + 1):
        scene.run(f"CREATE TABLE staging.t{number} (a INT)")
    assert scene.run("RENAME TABLE staging.t0 TO shop.a")[0].unresolved
    assert scene.run(f"RENAME TABLE staging.t{FOREIGN_TABLES_MAX} TO shop.b")[0].new is not None
    assert scene.history.take_rows("c")[0].table == "a"


def test_if_not_exists_may_have_found_an_untracked_table():
    scene = Scene(("shop.orders",))
    scene.run("CREATE TABLE IF NOT EXISTS other (a INT)")
    assert scene.run("RENAME TABLE other TO orders")[-1].unresolved
    scene.run("DROP TABLE orders")
    scene.run("CREATE TABLE IF NOT EXISTS orders (a INT)")
    assert scene.columns("orders") == ["a"]


# ---- what is not known ----


def test_an_unknown_operation_on_a_tracked_table_stops_it(scene):
    scene.run(ORDERS)
    (change,) = scene.run("ALTER TABLE orders FROBNICATE")
    assert change.new is None
    assert change.unresolved == (
        "the definition of shop.orders is not known since the statement that ends at position 120 of binlog file 1: "
        "FROBNICATE at character 20 is not understood"
    )
    scene.run("ALTER TABLE orders ADD x INT")
    scene.run("RENAME TABLE orders TO orders2")
    with pytest.raises(SchemaMismatch, match="FROBNICATE"):
        scene.history.table("shop", "orders2")


def test_what_is_done_to_other_tables_harms_nobody():
    scene = Scene(("shop.orders",))
    scene.run(ORDERS)
    for sql in (
        "ALTER TABLE other FROBNICATE",
        "ALTER TABLE elsewhere.t FROBNICATE",
        "CREATE TABLE elsewhere.t (a HYPERTEXT)",
        "ALTER TABLE other DROP c",
        "DROP TABLE elsewhere.t",
        "FROBNICATE",
    ):
        assert scene.run(sql) == ()
    assert scene.columns("orders") == ["id", "price", "name"]


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ("DROP missing", "column missing is not known"),
        ("MODIFY missing INT", "column missing is not known"),
        ("ADD a INT AFTER missing", "column missing is not known in shop.orders"),
        ("ADD a TEXT CHARACTER SET klingon", "character set klingon is not known"),
        ("ADD a TEXT COLLATE klingon_ci", "collation klingon_ci is not known"),
        ("DEFAULT CHARSET klingon", "character set klingon is not known"),
        (
            "CONVERT TO CHARACTER SET utf8, MODIFY name TEXT",
            "it redefines column name and converts the charset at once",
        ),
    ],
)
def test_a_statement_that_cannot_have_succeeded(scene, operation, reason):
    scene.run(ORDERS)
    (change,) = scene.run(f"ALTER TABLE orders {operation}")
    assert change.unresolved.endswith(f": {reason}")


def test_mysql_57_is_not_guessed_at():
    scene = Scene(dialect=MYSQL57)
    scene.run("CREATE TABLE t (a INT) CHARSET latin1")
    assert scene.run("ALTER TABLE t CONVERT TO CHARACTER SET utf8")[0].unresolved.endswith("not known of MySQL 5.7")
    scene.run("CREATE TABLE u (a CHAR(3)) CHARSET latin1")
    assert scene.run("ALTER TABLE u CONVERT TO CHARACTER SET utf8")[0].new.columns[0].charset == "utf8"


def test_an_unresolved_table_is_mended_by_a_definition(scene):
    scene.run(ORDERS)
    scene.run("ALTER TABLE orders FROBNICATE")
    scene.history.resolve_table(
        "shop", "CREATE TABLE `orders` (`a` int) ENGINE=InnoDB DEFAULT CHARSET=latin1", (1, 130)
    )
    assert scene.columns("orders") == ["a"]
    assert scene.history.table("shop", "orders").charset == "latin1"


def test_an_unknown_database_charset_stops_only_who_tracks_it(scene):
    assert scene.run("CREATE DATABASE elsewhere CHARACTER SET klingon") == ()
    with pytest.raises(UnsupportedStatement, match="default character set of database shop: character set klingon"):
        scene.run("CREATE DATABASE shop CHARACTER SET klingon")


# ---- databases ----


def test_dropping_a_database_drops_its_tables(scene):
    scene.run("CREATE TABLE a (x INT)")
    scene.run("CREATE TABLE b (x INT)")
    scene.run("CREATE TABLE staging.c (x INT)")
    assert [change.table for change in scene.run("DROP DATABASE shop")] == ["a", "b"]
    assert scene.run("DROP DATABASE staging") == ()
    assert scene.run("RENAME TABLE staging.c TO shop.c")[0].unresolved


def test_charsets_are_inherited_from_server_database_and_table(scene):
    scene.run("CREATE DATABASE shop", collation_server=28)
    assert scene.run("CREATE TABLE t (a CHAR(3))")[0].new.charset == "gbk"
    scene.run("ALTER DATABASE shop CHARACTER SET latin1")
    (change,) = scene.run("CREATE TABLE u (a CHAR(3), b TEXT CHARACTER SET ascii)")
    assert [column.collation for column in change.new.columns] == ["latin1_swedish_ci", "ascii_general_ci"]
    scene.history.snapshot_database("CREATE DATABASE `shop` /*!40100 DEFAULT CHARACTER SET big5 */", (1, 500))
    assert scene.run("CREATE TABLE v (a CHAR(3))")[0].new.charset == "big5"


def test_a_database_text_that_is_not_one(scene):
    with pytest.raises(SchemaMismatch, match="is not understood"):
        scene.history.snapshot_database("DROP DATABASE shop", (1, 4))


def test_explicit_defaults_for_timestamp_of_mariadb_is_in_flags2():
    scene = Scene(dialect=MARIADB)
    assert not scene.run("CREATE TABLE a (t TIMESTAMP)", flags2=0)[0].new.columns[0].nullable
    assert scene.run("CREATE TABLE b (t TIMESTAMP)", flags2=1 << 24)[0].new.columns[0].nullable


# ---- the catalog ----


def test_rows_carry_the_history_over_a_restart(scene):
    scene.history.snapshot_database("CREATE DATABASE `shop` DEFAULT CHARACTER SET gbk", (1, 4))
    scene.history.snapshot_table("shop", "CREATE TABLE `snap` (`a` int NOT NULL) DEFAULT CHARSET=latin1", (1, 4))
    scene.run(ORDERS)
    scene.run("ALTER TABLE orders ADD note TEXT")
    at_alter = scene.position
    scene.run("CREATE TABLE gone (a INT)")
    scene.run("DROP TABLE gone")
    scene.run("CREATE TABLE lost (a INT)")
    scene.run("ALTER TABLE lost FROBNICATE")
    scene.run("CREATE TABLE elsewhere.t (a INT)")
    rows = scene.history.take_rows("channel")
    assert scene.history.take_rows("channel") == []
    assert {row.channel_id for row in rows} == {"channel"}
    assert [(row.database, row.table) for row in rows[:3]] == [("shop", ""), ("shop", "snap"), ("shop", "orders")]
    assert rows[2].ddl == ORDERS

    restored = scene.new_history()
    restored.restore(reversed(rows))
    for table in ("snap", "orders"):
        assert restored.table("shop", table) == scene.history.table("shop", table)
    assert len(restored.table_at("shop", "orders", (1, at_alter[1] - 1)).columns) == 3
    with pytest.raises(SchemaMismatch, match="does not know"):
        restored.table("shop", "gone")
    with pytest.raises(SchemaMismatch, match="FROBNICATE"):
        restored.table("shop", "lost")
    assert restored.take_rows("channel") == []

    scene.history = restored
    assert scene.run("CREATE TABLE inherits (a CHAR(1))")[0].new.charset == "gbk"


def test_a_swap_leaves_one_row_for_each_table(scene):
    scene.run("CREATE TABLE a (x INT)")
    scene.run("CREATE TABLE b (y INT)")
    scene.history.take_rows("c")
    scene.run("RENAME TABLE a TO swap, b TO a, swap TO b")
    rows = {row.table: row.definition for row in scene.history.take_rows("c")}
    assert rows == {
        "a": scene.history.table("shop", "a").to_json(),
        "b": scene.history.table("shop", "b").to_json(),
        "swap": None,
    }


def test_restoring_up_to_a_position_leaves_out_what_came_later(scene):
    scene.run(ORDERS)
    upto = scene.position
    scene.run("ALTER TABLE orders DROP price")
    scene.run("CREATE DATABASE shop CHARACTER SET gbk")
    restored = scene.new_history()
    restored.restore(scene.history.take_rows("c"), upto)
    assert len(restored.table("shop", "orders").columns) == 3
    scene.history = restored
    assert scene.run("CREATE TABLE t (a CHAR(1))")[0].new.charset != "gbk"


def test_a_snapshot_is_parsed_when_it_is_asked_for(scene):
    scene.history.snapshot_table("shop", "CREATE TABLE `odd` (`a` HYPERTEXT)", (1, 4))
    scene.history.snapshot_table("shop", "CREATE SEQUENCE `seq` start with 1", (1, 4))
    with pytest.raises(SchemaMismatch, match=r"shop\.odd that the server shows is not understood: HYPERTEXT"):
        scene.history.table("shop", "odd")


names = st.text(min_size=1, max_size=8)
columns = st.builds(
    Column,
    names,
    st.sampled_from(["int", "varchar", "enum", "decimal"]),
    unsigned=st.booleans(),
    charset=st.none() | st.just("utf8mb4"),
    length=st.none() | st.integers(0, 65535),
    labels=st.lists(names, max_size=3).map(tuple),
    nullable=st.booleans(),
    default=st.none() | names,
    hidden=st.booleans(),
)
keys = st.builds(
    Key, names, st.lists(names, max_size=2).map(tuple), unique=st.booleans(), prefixes=st.sampled_from([(), (1, 0)])
)


@given(names, names, st.lists(columns, max_size=3).map(tuple), st.lists(keys, max_size=2).map(tuple))
def test_definitions_survive_the_catalog(database, table, columns, keys):
    version = TableVersion.of(database, table, columns, keys, "utf8mb4", "utf8mb4_bin")
    assert TableVersion.from_json(version.to_json()) == version


# ---- TABLE_MAP ----


def table_map(**changes):
    """What a server sends for ORDERS, in full."""
    event = TableMapEvent(
        7,
        1,
        "shop",
        "orders",
        bytes([FieldType.LONGLONG, FieldType.NEWDECIMAL, FieldType.VARCHAR]),
        (0, 10 << 8 | 2, 80),
        (False, True, False),
    )
    return replace(event, **changes)


def test_a_table_map_that_fits(scene):
    version = scene.run(ORDERS)[0].new
    full = OptionalMetadata(
        unsigned=(True, False, None),
        collations=(None, None, 255),
        names=("id", "price", "name"),
        primary_key=(KeyPart(0),),
    )
    assert scene.history.check(table_map()) is scene.history.check(table_map(optional=full)) is version


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"column_types": b"\x08", "column_metadata": (0,), "nullable": (False,)},
            "the binlog has 1 columns, the history 3",
        ),
        (
            {"column_types": bytes([FieldType.LONG, FieldType.NEWDECIMAL, FieldType.VARCHAR])},
            "column 1 (id) is LONG in the binlog and bigint in the history",
        ),
        ({"column_types": b"\xc8\xf6\x0f"}, "column 1 (id) is of the unknown type 200 in the binlog and bigint"),
        (
            {"column_metadata": (0, 12 << 8 | 2, 80)},
            "column 2 (price) is NEWDECIMAL with type metadata 3074 in the binlog and decimal(10,2) in the history",
        ),
        ({"column_metadata": (0, 2562, 20)}, "type metadata 20 in the binlog and varchar(20) utf8mb4 in the history"),
        ({"nullable": (False, True, True)}, "column 3 (name) is nullable in the binlog and NOT NULL in the history"),
        ({"optional": OptionalMetadata(unsigned=(False, False, None))}, "is signed in the binlog and unsigned in"),
        ({"optional": OptionalMetadata(names=("id", "cost", "name"))}, "column 2 (price) is called cost in the binlog"),
        ({"optional": OptionalMetadata(names=("id", "price"))}, "the binlog names 2 of 3 columns"),
        (
            {"optional": OptionalMetadata(collations=(None, None, 45))},
            "has utf8mb4_general_ci in the binlog and utf8mb4_0900_ai_ci in the history",
        ),
        ({"optional": OptionalMetadata(collations=(None, None, 4000))}, "has collation 4000 in the binlog"),
        ({"optional": OptionalMetadata(primary_key=(KeyPart(2),))}, "the primary key is ('name',) in the binlog"),
    ],
)
def test_a_table_map_that_does_not_fit(scene, changes, sentence):
    scene.run(ORDERS)
    with pytest.raises(SchemaMismatch) as caught:
        scene.history.check(table_map(**changes))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("the binlog disagrees with the schema history of shop.orders: ")


def test_a_table_map_of_a_table_nobody_knows(scene):
    with pytest.raises(SchemaMismatch, match=r"does not know the table shop\.orders"):
        scene.history.check(table_map())


def test_labels_are_compared_as_text(scene):
    scene.run("CREATE TABLE orders (a ENUM('größe','b') CHARACTER SET utf8mb4)")
    event = TableMapEvent(7, 1, "shop", "orders", bytes([FieldType.ENUM]), (1,), (True,))
    right = OptionalMetadata(collations=(255,), labels=(("größe".encode(), b"b"),))
    wrong = OptionalMetadata(collations=(255,), labels=((b"b", "größe".encode()),))
    scene.history.check(replace(event, optional=right))
    with pytest.raises(SchemaMismatch, match="has the labels"):
        scene.history.check(replace(event, optional=wrong))


def test_old_servers_send_old_temporal_types(scene):
    scene.run("CREATE TABLE orders (a DATETIME, b TIMESTAMP NULL, c TIME)")
    types = bytes([FieldType.DATETIME, FieldType.TIMESTAMP, FieldType.TIME])
    scene.history.check(TableMapEvent(7, 1, "shop", "orders", types, (0, 0, 0), (True, True, True)))


def test_a_compressed_column_has_a_type_of_its_own():
    scene = Scene(dialect=MARIADB)
    scene.run("CREATE TABLE orders (a VARCHAR(100) COMPRESSED) CHARSET latin1")
    scene.history.check(TableMapEvent(7, 1, "shop", "orders", bytes([FieldType.VARCHAR_COMPRESSED]), (101,), (True,)))
    with pytest.raises(SchemaMismatch, match="is VARCHAR in the binlog and varchar in the history"):
        scene.history.check(TableMapEvent(7, 1, "shop", "orders", bytes([FieldType.VARCHAR]), (100,), (True,)))


def test_a_query_events_status_is_what_a_session_is_made_of():
    """The fields of Session are those of QueryStatus that matter, under the same names."""
    assert set(Session.__struct_fields__) - {"database"} <= set(QueryStatus._fields)


# ---- what stays in the catalog until it is needed ----


def test_texts_are_loaded_when_they_are_needed(scene, tmp_path):
    scene.run(ORDERS)
    scene.run("CREATE TABLE other (a INT)")
    scene.run("CREATE TABLE third (a INT)")
    catalog = Catalog.open(tmp_path / "catalog.db")
    try:
        catalog.add_schema_versions(scene.history.take_rows("channel"))
        scene.history = scene.new_history()
        scene.history.restore_entries(catalog.schema_entries("channel"))
        loaded: list[tuple[int, ...]] = []

        def run(sql: str) -> tuple[Change, ...]:
            try:
                return tuple(scene.run(sql))
            except DefinitionsNotLoaded as absent:
                loaded.append(absent.sequences)
                absent.load(catalog.schema_definitions(absent.sequences), scene.history)
                return tuple(scene.run(sql))

        assert sorted(scene.history.tables_of("shop")) == ["orders", "other", "third"]
        assert run("CREATE TABLE IF NOT EXISTS third (b BIGINT)") == ()
        assert run("DROP TABLE third, missing") == (Change("shop", "third", None),)
        assert run("CREATE TABLE third (c INT)")[0].new is not None
        assert loaded == []
        run("ALTER TABLE orders ADD x INT")
        run("ALTER TABLE orders DROP x")
        assert len(loaded) == 1
        run("RENAME TABLE orders TO swap, other TO orders, swap TO other")
        assert len(loaded) == 2
        assert (scene.columns("orders"), scene.columns("third")) == (["a"], ["c"])
        assert len(scene.columns("other")) == 3
    finally:
        catalog.close()


# ---- statements about what is not tracked ----

_HEADS = st.sampled_from(
    [
        *("ALTER TABLE away.t ", "CREATE TABLE away.t (", "CREATE TABLE IF NOT EXISTS away.t (", "DROP TABLE away.t "),
        *(
            "RENAME TABLE away.t TO away.u ",
            "TRUNCATE TABLE away.t ",
            "CREATE INDEX i ON away.t (",
            "DROP SCHEMA away ",
        ),
        *(
            "CREATE DATABASE away ",
            "ALTER DATABASE away ",
            "CREATE TABLE away.t LIKE away.u ",
            "GRANT SELECT ON away.t ",
        ),
        *("CREATE VIEW away.v AS ", "CREATE TRIGGER away.g ", "CREATE PROCEDURE away.p() ", "DROP INDEX i ON away.t "),
    ]
)
_WORDS = st.sampled_from(
    [
        *(
            "ADD",
            "COLUMN",
            "a",
            "INT",
            "DROP",
            "KEY",
            "(",
            ")",
            ",",
            "PARTITION",
            "BY",
            "'text'",
            "5",
            "=",
            "@v",
            "`q`",
        ),
        *(
            "DEFAULT",
            "CHARSET",
            "utf9",
            "COLLATE",
            "COMMENT",
            "FIRST",
            "AFTER",
            "CHANGE",
            "MODIFY",
            "FROBNICATE",
            "/**/",
        ),
    ]
)


@given(_HEADS, st.lists(_WORDS, max_size=12), st.text(alphabet=st.characters(exclude_characters=";"), max_size=10))
def test_statements_about_what_is_not_tracked_harm_nobody(head, words, garbage):
    """Whatever a server logs about other databases, understood or not, leaves the tracked ones as they are."""
    scene = Scene(("shop.orders",))
    scene.run(ORDERS)
    before = scene.history.table("shop", "orders")
    scene.history.take_rows("channel")
    for sql in (head + " ".join(words), f"{head} x{' '.join(words)} {garbage}"):
        statements = parse(sql)
        assert scene.history.apply(statements, Session("away"), (1, 10_000), sql) == ()
    assert scene.history.table("shop", "orders") == before
    assert scene.history.take_rows("channel") == []


@given(_HEADS, st.lists(_WORDS, max_size=12))
def test_what_is_not_understood_of_a_table_says_which_it_is(head, words):
    for statement in parse(f"{head} FROBNICATE {' '.join(words)}"):
        if isinstance(statement, Unknown):
            assert statement.tables, statement
            assert {name.database for name in statement.tables} <= {"away", None}


@pytest.mark.parametrize("sql", ["ALTER DATABASE shop FROBNICATE", "ALTER DATABASE DEFAULT FROBNICATE 5"])
def test_what_is_not_understood_of_a_tracked_database_stops(scene, sql):
    with pytest.raises(UnsupportedStatement, match="a statement about database shop is not understood: FROBNICATE"):
        scene.run(sql)
    assert scene.history.apply(parse(sql.replace("shop", "away")), Session("away"), (1, 10_000), sql) == ()

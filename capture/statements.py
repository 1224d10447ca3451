"""What a statement in the binlog says: one named tuple per kind of statement, ALTER operation and definition.

`capture/ddl.py` makes them from SQL text, `capture/definition.py` and `capture/schema.py` carry them out. They hold
what was written, nothing resolved: a charset left out is None here and inherited there. Names are unquoted. (Named
tuples, because forty data classes take 20 ms to make, and the loop waits for them at the first statement.)

Every statement belongs to one of five families:

    TABLE_STATEMENTS      change tables or databases: carried out on the schema history
    TransactionControl    BEGIN, COMMIT, SAVEPOINT, XA …
    Administration        changes no table's columns or keys: GRANT, SET, views, triggers, ANALYZE, FLUSH …
    DataChange            rows changed by statement: no row events exist for them, so the channel has to stop
    Unknown               not understood; `tables` says which tables it is about, as far as could be read
"""

from typing import Literal

from msgspec import Struct

Placement = Literal["last", "first"] | tuple[Literal["after"], str]


class TableName(Struct, frozen=True):
    """A table as written; `database` is None where the default database is meant."""

    database: str | None
    table: str


class DataType(Struct, frozen=True):
    """A data type as written, synonyms replaced (`INTEGER` is `int`, `NCHAR(3)` is `char` with charset utf8).

    `length` is the number in the parentheses where there is one; `precision` and `scale` those of DECIMAL, FLOAT and
    DOUBLE. `binary_collation` is the BINARY attribute of a character type. `compressed` is MariaDB's attribute.
    """

    name: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    fsp: int = 0
    unsigned: bool = False
    labels: tuple[str, ...] = ()
    charset: str | None = None
    collation: str | None = None
    binary_collation: bool = False
    compressed: bool = False


class ColumnDefinition(Struct, frozen=True):
    """A column as written. `nullable` None: neither NULL nor NOT NULL stands; `primary`, `unique`: its own KEY words.

    `references` is an inline REFERENCES, `row_period` MariaDB's GENERATED ALWAYS AS ROW START or END, `versioned` its
    WITH SYSTEM VERSIONING, of which one makes the whole table versioned.
    """

    name: str
    data_type: DataType
    nullable: bool | None = None
    default: str | None = None
    auto_increment: bool = False
    generated: Literal["virtual", "stored"] | None = None
    invisible: bool = False
    primary: bool = False
    unique: bool = False
    references: bool = False
    row_period: bool = False
    versioned: bool = False


class KeyDefinition(Struct, frozen=True):
    """An index or foreign key as written. `columns` are the plain parts; `functional`: there are others too.

    A `period` is MariaDB's PERIOD FOR, no index.
    `prefixes` holds a length for each of `columns`, 0 for a whole column, and is empty where there is none.
    """

    kind: Literal["primary", "unique", "index", "foreign", "period"]
    name: str | None
    columns: tuple[str, ...]
    prefixes: tuple[int, ...] = ()
    functional: bool = False
    if_not_exists: bool = False


class CharsetClause(Struct, frozen=True):
    """DEFAULT CHARACTER SET … COLLATE …; at least one is given, `charset` may be the word `default`."""

    charset: str | None
    collation: str | None


# ---- operations of ALTER TABLE ----


class AddColumn(Struct, frozen=True):
    """ADD COLUMN, one operation per column of a parenthesised list."""

    column: ColumnDefinition
    placement: Placement = "last"
    if_not_exists: bool = False


class ChangeColumn(Struct, frozen=True):
    """CHANGE COLUMN, and MODIFY COLUMN, where `old_name` is the definition's name. `placement` None keeps the place."""

    old_name: str
    column: ColumnDefinition
    placement: Placement | None = None
    if_exists: bool = False


class DropColumn(Struct, frozen=True):
    """DROP COLUMN."""

    name: str
    if_exists: bool = False


class RenameColumn(Struct, frozen=True):
    """RENAME COLUMN old TO new."""

    old_name: str
    new_name: str
    if_exists: bool = False


class SetColumnDefault(Struct, frozen=True):
    """ALTER COLUMN SET DEFAULT or DROP DEFAULT (`default` None)."""

    name: str
    default: str | None
    if_exists: bool = False


class SetColumnVisibility(Struct, frozen=True):
    """ALTER COLUMN SET VISIBLE or INVISIBLE."""

    name: str
    invisible: bool


class AddKey(Struct, frozen=True):
    """ADD INDEX, UNIQUE, PRIMARY KEY, FOREIGN KEY …, also from CREATE INDEX."""

    key: KeyDefinition
    replace: bool = False


class DropKey(Struct, frozen=True):
    """DROP INDEX, DROP PRIMARY KEY (`PRIMARY`)."""

    name: str
    if_exists: bool = False


class DropConstraint(Struct, frozen=True):
    """DROP CONSTRAINT: a primary or unique key of that name, or a check or foreign key, which is no index."""

    name: str


class RenameKey(Struct, frozen=True):
    """RENAME INDEX old TO new."""

    old_name: str
    new_name: str
    if_exists: bool = False


class RenameTo(Struct, frozen=True):
    """RENAME TO."""

    name: TableName


class ConvertCharset(Struct, frozen=True):
    """CONVERT TO CHARACTER SET."""

    charset: CharsetClause


class SetCharset(Struct, frozen=True):
    """DEFAULT CHARACTER SET of the table: for columns added later."""

    charset: CharsetClause


class SetSystemVersioning(Struct, frozen=True):
    """MariaDB's ADD or DROP SYSTEM VERSIONING: two hidden columns."""

    versioned: bool


AlterOperation = (
    AddColumn
    | ChangeColumn
    | DropColumn
    | RenameColumn
    | SetColumnDefault
    | SetColumnVisibility
    | AddKey
    | DropKey
    | DropConstraint
    | RenameKey
    | RenameTo
    | ConvertCharset
    | SetCharset
    | SetSystemVersioning
)


# ---- statements that change tables ----


class CreateTable(Struct, frozen=True):
    """CREATE TABLE with its own definitions. TEMPORARY tables parse, and are no part of the history."""

    table: TableName
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...] = ()
    charset: CharsetClause | None = None
    if_not_exists: bool = False
    or_replace: bool = False
    temporary: bool = False
    versioned: bool = False


class CreateTableLike(Struct, frozen=True):
    """CREATE TABLE … LIKE."""

    table: TableName
    source: TableName
    if_not_exists: bool = False
    or_replace: bool = False
    temporary: bool = False


class CreateSequence(Struct, frozen=True):
    """MariaDB's CREATE SEQUENCE: a table of eight fixed columns, whose changes are logged as rows."""

    table: TableName
    if_not_exists: bool = False
    or_replace: bool = False
    temporary: bool = False


class DropTable(Struct, frozen=True):
    """DROP TABLE (and MariaDB's DROP SEQUENCE) with all its tables."""

    tables: tuple[TableName, ...]
    if_exists: bool = False
    temporary: bool = False


class RenameTable(Struct, frozen=True):
    """RENAME TABLE: pairs of old and new name, carried out from left to right."""

    renames: tuple[tuple[TableName, TableName], ...]


class AlterTable(Struct, frozen=True):
    """ALTER TABLE, also from CREATE INDEX and DROP INDEX. Operations without effect on the definition are left out."""

    table: TableName
    operations: tuple[AlterOperation, ...]
    if_exists: bool = False


class TruncateTable(Struct, frozen=True):
    """TRUNCATE TABLE."""

    table: TableName


class CreateDatabase(Struct, frozen=True):
    """CREATE DATABASE."""

    database: str
    charset: CharsetClause | None = None
    if_not_exists: bool = False
    or_replace: bool = False


class AlterDatabase(Struct, frozen=True):
    """ALTER DATABASE; `database` None is the default one."""

    database: str | None
    charset: CharsetClause | None = None


class DropDatabase(Struct, frozen=True):
    """DROP DATABASE with all its tables."""

    database: str
    if_exists: bool = False


# ---- statements that change no table ----

TransactionVerb = Literal[
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "ROLLBACK TO",
    "RELEASE SAVEPOINT",
    "XA START",
    "XA END",
    "XA PREPARE",
    "XA COMMIT",
    "XA ROLLBACK",
]


class TransactionControl(Struct, frozen=True):
    """Transaction control. `name` is a savepoint, or the id of an XA transaction as written."""

    verb: TransactionVerb
    name: str | None = None


class Administration(Struct, frozen=True):
    """A statement that changes no table's columns or keys. `verb` is its first words, upper case (`CREATE VIEW`)."""

    verb: str


class DataChange(Struct, frozen=True):
    """A statement that changes rows; `verb` is its first words, `table` its target where one can be read."""

    verb: str
    table: TableName | None = None


class Unknown(Struct, frozen=True):
    """A statement that is not understood. `reason` is half a sentence for people; `tables` those it is about, one with
    an empty name a whole database.
    """

    reason: str
    tables: tuple[TableName, ...] = ()


TableStatement = (
    CreateTable
    | CreateTableLike
    | CreateSequence
    | DropTable
    | RenameTable
    | AlterTable
    | TruncateTable
    | CreateDatabase
    | AlterDatabase
    | DropDatabase
)
Statement = TableStatement | TransactionControl | Administration | DataChange | Unknown
TABLE_STATEMENTS = (
    CreateTable,
    CreateTableLike,
    CreateSequence,
    DropTable,
    RenameTable,
    AlterTable,
    TruncateTable,
    CreateDatabase,
    AlterDatabase,
    DropDatabase,
)

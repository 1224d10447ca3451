"""SET of scenarios: which variables change what is played, which change nothing, and which are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from capture.scenario.comparing import Value, as_text, is_true, number
from capture.scenario.nodes import Scope
from capture.scenario.operators import integer
from capture.scenario.parsing import Names, Parser
from capture.scenario.refusal import StatementRefused
from capture.scenario.session import STRICT_MODES, Session
from capture.sql import Kind

if TYPE_CHECKING:
    from capture.cursor import Cursor

_SCOPES: Final = frozenset({"SESSION", "LOCAL", "GLOBAL", "PERSIST"})
_HARMLESS: Final = frozenset(
    {
        *("unique_checks", "sql_notes", "sql_warnings", "sql_safe_updates", "sql_quote_show_create", "sql_big_selects"),
        *("character_set_client", "character_set_results", "character_set_connection", "collation_connection"),
        *("transaction_isolation", "tx_isolation", "lock_wait_timeout", "innodb_lock_wait_timeout", "wait_timeout"),
        *("interactive_timeout", "net_read_timeout", "net_write_timeout", "max_execution_time", "optimizer_switch"),
        *("group_concat_max_len", "information_schema_stats_expiry", "net_buffer_length", "max_allowed_packet"),
    }
)
_MODES: Final = STRICT_MODES | {"STRICT_ALL_TABLES", "NO_AUTO_VALUE_ON_ZERO", "NO_AUTO_CREATE_USER", "TRADITIONAL"}
_TRADITIONAL: Final = STRICT_MODES - {"ONLY_FULL_GROUP_BY"}
_OFFSET_MIN: Final = {"+": 14 * 60, "-": 13 * 60 + 59}
_ZONE: Final = re.compile(r"([+-])(\d{1,2}):(\d\d)")


def run_set(cursor: Cursor, session: Session) -> None:
    """Do the rest of a SET statement. Raises StatementRefused, or SqlSyntaxError where it is not understood."""
    if cursor.accept("NAMES") or cursor.accept("CHARACTER", "SET") or cursor.accept("CHARSET"):
        _set_names(cursor)
        return
    while True:
        _set_one(cursor, session)
        if cursor.at_end():
            return
        cursor.expect_punctuation(",")


def _set_names(cursor: Cursor) -> None:
    charset = cursor.name_or_string().lower()
    if charset not in {"utf8mb4", "utf8", "utf8mb3", "default"}:
        raise StatementRefused(f"a scenario is text in UTF-8; SET NAMES {charset} is not played")
    if cursor.accept("COLLATE"):
        cursor.name_or_string()


def _set_one(cursor: Cursor, session: Session) -> None:
    scope = cursor.accept_one_of(_SCOPES)
    if cursor.accept("TRANSACTION"):
        cursor.skip_statement()
        return
    token = cursor.advance()
    name = token.value.lower()
    is_user_variable = token.kind is Kind.VARIABLE and not name.startswith("@@")
    if token.kind is Kind.VARIABLE and not is_user_variable:
        name = name[2:]
        if name in {"session", "local", "global", "persist"}:
            scope = name.upper()
            cursor.expect_punctuation(".")
            name = cursor.identifier().lower()
    cursor.accept_punctuation(":")
    cursor.expect_punctuation("=")
    value = _value(cursor, session)
    if is_user_variable:
        session.variables[name[1:].strip("`'\"").casefold()] = value
    elif name not in _HARMLESS:
        _set_variable(name, value, session, is_session=scope in {None, "SESSION", "LOCAL"})


def _value(cursor: Cursor, session: Session) -> Value:
    """A value, or a word such as DEFAULT, ON or a charset's name as text."""
    word = cursor.keyword()
    is_alone = cursor.peek().kind is Kind.WORD and not cursor.sees_punctuation("(", 1)
    if is_alone and word not in {"NULL", "TRUE", "FALSE", "CASE"} and not word.startswith("CURRENT_"):
        return cursor.advance().value
    return Parser(cursor, Names()).expression().evaluate(Scope(session))


def _set_variable(name: str, value: Value, session: Session, *, is_session: bool) -> None:
    setter = _SETTERS.get(name)
    if setter is None or not is_session:
        raise StatementRefused(f"SET {'' if is_session else 'GLOBAL '}{name} is not played; leave it out")
    setter(session, value)


def _is_default(value: Value) -> bool:
    return isinstance(value, str) and value.upper() == "DEFAULT"


def _is_on(value: Value) -> bool:
    if isinstance(value, str):
        return value.upper() in {"ON", "DEFAULT", "1", "TRUE"}
    return bool(is_true(value))


def _set_timestamp(session: Session, value: Value) -> None:
    if _is_default(value) or number(value) == 0:
        session.time_us = None
        return
    session.time_us = integer(Decimal(str(number(value))) * 1_000_000)
    if not 0 <= session.time_us < 1 << 32 + 20:
        raise StatementRefused(f"SET timestamp takes Unix seconds, and {value} are too many or too few")


def _set_zone(session: Session, value: Value) -> None:
    text = as_text(value)
    found = _ZONE.fullmatch(text)
    if text.upper() in {"SYSTEM", "UTC", "DEFAULT"}:
        session.zone = UTC
    elif found is not None and int(found[3]) < 60 and int(found[2]) * 60 + int(found[3]) <= _OFFSET_MIN[found[1]]:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        session.zone = timezone(-offset if found[1] == "-" else offset)
    else:
        raise StatementRefused(f"the time zone {text!r} is not known here; give an offset such as '+08:00'")
    session.zone_name = text


def _set_modes(session: Session, value: Value) -> None:
    if _is_default(value):
        session.modes = STRICT_MODES
        return
    words = {word.strip().upper() for word in as_text(value).split(",")} - {""}
    unknown = words - _MODES
    if unknown:
        raise StatementRefused(f"sql_mode {', '.join(sorted(unknown))} is not played; leave it out")
    session.modes = frozenset(words | (_TRADITIONAL if "TRADITIONAL" in words else frozenset()))


def _set_binary_log(session: Session, value: Value) -> None:
    if not _is_on(value):
        raise StatementRefused("statements under sql_log_bin = 0 leave no record on a server; leave them out")


def _set_foreign_key_checks(session: Session, value: Value) -> None:
    session.checks_foreign_keys = _is_on(value)


def _set_last_insert_id(session: Session, value: Value) -> None:
    session.last_insert_id = integer(value)


def _set_autocommit(session: Session, value: Value) -> None:
    session.autocommits = _is_on(value)


_SETTERS: Final[dict[str, Callable[[Session, Value], None]]] = {
    "timestamp": _set_timestamp,
    "time_zone": _set_zone,
    "sql_mode": _set_modes,
    "autocommit": _set_autocommit,
    "foreign_key_checks": _set_foreign_key_checks,
    "last_insert_id": _set_last_insert_id,
    "sql_log_bin": _set_binary_log,
}

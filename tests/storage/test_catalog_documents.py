"""Tables of the catalog's second version: channels made by operations, logs to be deleted, alerts; and how they survive
what may happen to a catalog.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from storage.catalog import (
    Catalog,
    ChannelRow,
    GroupRow,
    OffsetRow,
    SchemaVersionRow,
)
from storage.catalog_control import AlertRuleRow, DocumentRow, IncidentRow
from storage.catalog_reading import copy_catalog, read_catalog
from storage.salvage import salvage
from tests.storage.test_catalog import VERSION_1

if TYPE_CHECKING:
    from pathlib import Path

CHANNEL = ChannelRow("dtsa", "a", "local_dtsa_u_version2", "mysql://u@h:3306", 7, None, '["shop"]', 1, 5, "", None)
DOCUMENT = DocumentRow("dtsa", '{"id": "dtsa"}', 0, None, None)
RULE = AlertRuleRow("rule1", "{}")
INCIDENTS = [IncidentRow("b", 5, "{}"), IncidentRow("a", 7, "{}")]


def fill(path: Path) -> None:
    with closing(Catalog.open(path)) as catalog:
        catalog.put_channel(CHANNEL)
        catalog.put_group(GroupRow("group1", "dtsa", "g", "u", "$scrypt$"))
        catalog.put_offsets([OffsetRow("group1", CHANNEL.topic, 0, 3, "", 9), OffsetRow("other", "else", 0, 4, "", 9)])
        catalog.add_schema_versions([SchemaVersionRow("dtsa", 1, 4, "shop", "item", "{}", None)])
        catalog.put_document(DOCUMENT)
        catalog.set_source_password("dtsa", "s3cret")
        catalog.note_release("gone")
        catalog.put_alert_rule(RULE)
        for incident in INCIDENTS:
            catalog.put_incident(incident)


def content(path: Path) -> tuple[object, ...]:
    with closing(Catalog.open(path)) as catalog:
        return (
            catalog.documents(),
            catalog.source_password("dtsa"),
            catalog.releases(),
            catalog.alert_rules(),
            catalog.incidents(),
        )


FILLED = ([DOCUMENT], "s3cret", ["gone"], [RULE], INCIDENTS)


def test_what_was_put_is_there_after_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    assert content(path) == FILLED
    with closing(Catalog.open(path)) as catalog:
        started = replace(DOCUMENT, is_started=1, precheck="[]", prechecked_ms=8)
        catalog.put_document(started)
        catalog.set_source_password("dtsa", "other")
        catalog.end_release("gone")
        catalog.delete_alert_rule("rule1")
        catalog.delete_incidents(["a"])
    assert content(path) == ([started], "other", [], [], [INCIDENTS[0]])


def test_of_a_released_channel_nothing_is_left_but_the_note_of_its_log(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    with closing(Catalog.open(path)) as catalog:
        catalog.offer_log(CHANNEL.topic)
        catalog.release_channel("dtsa", CHANNEL.topic)
        assert [*catalog.channels(), *catalog.groups(), *catalog.documents()] == []
        assert catalog.schema_versions("dtsa") == []
        assert catalog.source_password("dtsa") is None
        assert not catalog.is_log_offered(CHANNEL.topic)
        assert [row.group_id for row in catalog.offsets()] == ["other"]
        assert catalog.releases() == ["gone", CHANNEL.topic]


def test_a_backup_has_them(tmp_path: Path) -> None:
    path, copy = tmp_path / "catalog.db", tmp_path / "copy.db"
    fill(path)
    copy_catalog(path, copy)
    assert content(copy) == FILLED
    assert copy.stat().st_mode & 0o077 == 0, "it has a source's password"


def test_salvage_keeps_them_but_notes_of_what_is_to_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    found = salvage(path, [])
    assert found.is_complete
    assert content(path) == (*FILLED[:2], [], *FILLED[3:])
    assert found.kept_as is not None
    assert found.kept_as.stat().st_mode & 0o077 == 0


def test_salvage_of_the_first_version_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
    found = salvage(path, [])
    assert found.is_complete
    assert content(path) == ([], None, [], [], [])


def test_the_first_version_is_checked_as_it_is(tmp_path: Path) -> None:
    """Beside the process that has it open, or before one of this version ever had."""
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
    assert read_catalog(path).orphans == ()


@pytest.mark.parametrize(
    ("table", "sentence"),
    [("channels", "a configuration of no channel: dtsa"), ("documents", "a source's password of no channel: dtsa")],
)
def test_what_belongs_to_no_channel_is_told(tmp_path: Path, table: str, sentence: str) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    assert sentence not in read_catalog(path).orphans
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"DELETE FROM {table}")
    assert sentence in read_catalog(path).orphans

"""The table of faults: every kind is a call, and a method with these arguments on both sides; no fault lacks a row."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from binwire.testing.faults import AsyncFaults, Faults
from broker.fixture.fault_kinds import CALL_PREFIX, KINDS, FaultKind
from broker.fixture.table import CALLS

ABOUT: frozenset[str] = frozenset({"fault_connections", "fault_watch", "fault_met", "fault_clear"})
"""Calls about faults, which are none themselves."""
WHOSE: frozenset[str] = frozenset({"self", "of", "group", "timestamp_s"})
"""Arguments that say of whom, which the table says once for all."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("side", [Faults, AsyncFaults])
def test_a_row_says_how_it_is_called(kind: FaultKind, side: type) -> None:
    assert kind.call in CALLS
    parameters = inspect.signature(getattr(side, kind.name)).parameters.values()
    shown = [str(each.replace(annotation=each.empty)) for each in parameters if each.name not in WHOSE]
    assert ", ".join(shown) == kind.arguments


def test_every_fault_has_a_row() -> None:
    assert {name for name in CALLS if name.startswith(CALL_PREFIX)} - ABOUT == {kind.call for kind in KINDS}


def test_the_table_can_be_served() -> None:
    assert len(msgspec.json.decode(msgspec.json.encode(KINDS))) == len(KINDS)

"""The client matrix: every unmodified client the project is tested with, and the cells that a test runs.

``make interop`` runs every cell; a representative stands for its family in ``make test``. The rows themselves, with
what each client's public API can express, are those of ``families/``.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet

from tests.interop.client import COLUMNS, Client
from tests.interop.families import go, java, librdkafka, node, others, python

CLIENTS: tuple[Client, ...] = (
    *java.CLIENTS,
    *librdkafka.CLIENTS,
    *python.CLIENTS,
    *go.CLIENTS,
    *node.CLIENTS,
    *others.CLIENTS,
)
DTS_CLIENTS = java.DTS_CLIENTS
KAFKA_CLIENTS = tuple(client for client in CLIENTS if client not in DTS_CLIENTS and client.refuses is None)
assert len({client.name for client in CLIENTS}) == len(CLIENTS), "two clients of one name"


def clients_of(column: str) -> list[ParameterSet]:
    """The clients whose public API can express a column, as parameters of that column's test."""
    assert column in COLUMNS
    return cells((client for client in CLIENTS if client.can(column)), pytest.mark.cell(column))


def cells(clients_wanted: Iterable[Client], *marks: pytest.MarkDecorator) -> list[ParameterSet]:
    """Clients as test parameters, marked with their name and whether they are representative."""
    return [
        pytest.param(
            client,
            id=client.name,
            marks=[
                *marks,
                pytest.mark.interop(client.name),
                *([pytest.mark.representative] if client.representative else []),
            ],
        )
        for client in clients_wanted
    ]

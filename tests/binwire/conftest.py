"""One embedded broker for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from binwire.testing import EmbeddedBroker


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker

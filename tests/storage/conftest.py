"""Every storage test gives back the files of the logs it opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.storage.samples import release_all

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _released_logs() -> Iterator[None]:
    yield
    release_all()

"""A console as most tests want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.broker.console.served_console import PASSWORD, TOKEN_HASH, Console, config, served


@pytest.fixture
async def open_console(tmp_path: Path) -> AsyncIterator[Console]:
    """On loopback, for anybody."""
    async with served(tmp_path) as console:
        yield console


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    """With a password and a token."""
    async with served(tmp_path, config(password=PASSWORD, tokens=[TOKEN_HASH])) as console:
        yield console

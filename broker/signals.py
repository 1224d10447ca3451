"""What the process does at a signal: SIGTERM and SIGINT end it in good order, SIGHUP reads the configuration again.

Left to others: what ending and reading again are (`app.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Final

from broker.config_rules import ConfigError
from storage.clock import SystemClock
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SIGNAL_AGAIN_MS: Final = 500

_log = logging.getLogger("binwire.signals")


def hung_up() -> asyncio.Event:
    """An event that SIGHUP sets, from now on: without it the signal would end a process that is still starting."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, event.set)
    return event


async def reload_on_hangup(hangup: asyncio.Event, reload: Callable[[], Awaitable[str]]) -> None:
    """Read the configuration again whenever `hangup` is set, until cancelled; a file that cannot be used changes
    nothing and says why in the log.

    Signals that come while it is read stand for one more reading, however many they are.
    """
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            await reload()
        except (ConfigError, StorageError) as error:
            _log.error("the configuration was not read again, nothing is changed: %s", error)
        except Exception:
            # A fault of ours ends this reading and not those that follow.
            _log.exception("reading the configuration again failed")


def signalled() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; another one ends the process at once, which loses nothing that was visible.

    One that follows within `SIGNAL_AGAIN_MS` is the same one sent twice: `timeout`, for one, signals its child and then
    the process group.
    """
    loop, event, clock = asyncio.get_running_loop(), asyncio.Event(), SystemClock()
    first_ms = 0

    def note(number: signal.Signals) -> None:
        nonlocal first_ms
        if not event.is_set():
            first_ms = clock.monotonic_ms()
            event.set()
        elif clock.monotonic_ms() - first_ms >= SIGNAL_AGAIN_MS:
            os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, note, number)
    return event

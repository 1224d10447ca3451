"""Processes that end by themselves."""

from __future__ import annotations

import os
import select

END_TIMEOUT_MS = 30_000


def wait_until_gone(pid: int) -> None:
    """Return when the process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(END_TIMEOUT_MS), f"process {pid} goes on"
    finally:
        os.close(descriptor)

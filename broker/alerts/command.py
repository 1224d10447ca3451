"""A command: a program that the configuration file names, with the facts in its environment.

What is run comes from the file alone, argument by argument, without a shell; who makes rules by operations picks one by
its name. Of the server's environment only what programs need to run is passed on: passwords of sources may be in it.
The program has its own session; one that outlives its time is killed with what it started. Nothing of its output is
read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

from broker.alerts.notice import TellingFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.alerts.notice import Notice

PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


async def tell(name: str, argv: Sequence[str], notice: Notice) -> None:
    """Run a command to its end. Raises TellingFailedError; being cancelled kills it."""
    environment = {key: value for key in PASSED_ON if (value := os.environ.get(key)) is not None}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=environment | notice.variables(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise TellingFailedError(f"the command {name} cannot be run: {argv[0]}: {error.strerror}") from None
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()  # which is at once, and leaves no dead child behind
        raise
    if status < 0:
        raise TellingFailedError(f"the command {name} was ended by {signal.Signals(-status).name}")
    if status > 0:
        raise TellingFailedError(f"the command {name} ended with status {status}")

"""Why a log takes no writes, in the words of people.

    the system refused a call        its reason, and what helps against that
    a flush does not return          since when; or, where it cannot even be begun, why
    the task that flushes has ended  a mistake of ours: nothing but a restart helps

A sentence says the same as long as its cause does, so that it is told once: none names a duration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.errors import LogWriteError, remedy
from storage.words import shown_moment

_PROMISE: Final = "nothing that was served is lost, and capture goes on when the cause is gone"


def refused(topic: str, directory: Path, what: str, error: OSError) -> LogWriteError:
    """The system refused a call that was needed; the log could not be `what` (opened, flushed, …)."""
    return LogWriteError(
        f"the log of topic {topic} could not be {what} ({error.strerror or error}, {directory}); "
        f"{remedy(error.errno)}; {_PROMISE}",
        error.errno,
    )


def late(topic: str, directory: Path, since_ms: int, deferred_by: OSError | None) -> LogWriteError:
    """A flush is under way since then (Unix epoch), or could not be begun since because of an error."""
    moment = shown_moment(since_ms)
    if deferred_by is not None:
        return refused(topic, directory, f"flushed since {moment}", deferred_by)
    return LogWriteError(
        f"the flush of the log of topic {topic} that began at {moment} has not returned; see to the disk of "
        f"{directory}; {_PROMISE}"
    )


def unattended(topic: str, error: BaseException) -> LogWriteError:
    """The task that flushes ended by an error that it does not expect."""
    return LogWriteError(
        f"the log of topic {topic} is not flushed any more by a mistake in Binwire "
        f"({type(error).__name__}: {error}); restart it"
    )

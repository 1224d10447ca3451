"""Who is told, and when it is tried again.

Each message is tried until its target has taken it, at growing intervals for a day; then it is given up, which is
logged and shown. Messages of an incident to one target go one after the other, so that its end is never told before its
beginning. At most `AT_ONCE_MAX` are under way at a time, each bounded by its kind's `TIMEOUT_S`, and so few of them to
one target that one that hangs keeps no other from being told.

What came of a try is kept before anything else happens. A server that ends while a target is being told waits for it
for `CLOSE_S`; only one that is killed in between tells a target again, with the same id.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.alerts.incidents import DELIVERED, FAILED, KeptIncident, Message
from broker.alerts.notice import Notice, TellingFailedError
from storage.scheduler import sleep

if TYPE_CHECKING:
    from broker.config import MailConfig
    from broker.operations.alerts import AlertTarget
    from storage.clock import Clock
    from storage.scheduler import Scheduler

TIMEOUT_S: Final = {"webhook": 15, "email": 60, "command": 60}
BACKOFF_S: Final = (5, 15, 60, 300, 900, 3_600)
"""Between tries; the last one again and again."""
ATTEMPTS_MAX: Final = 29
"""A day's."""
AT_ONCE_MAX: Final = 32
AT_ONCE_TO_ONE_MAX: Final = 2
CLOSE_S: Final = 5

_log = logging.getLogger("binwire.alerts")


class Ways:
    """How targets are told: the mail server and the commands are those of the file."""

    def __init__(self, mail: MailConfig | None, commands: Mapping[str, Sequence[str]]) -> None:
        self.mail = mail
        self.commands = commands

    async def tell(self, target: AlertTarget, notice: Notice) -> str | None:
        """Try once; why it did not succeed, None if it did."""
        try:
            async with asyncio.timeout(TIMEOUT_S[target.kind]):
                await self._tell(target, notice)
        except TimeoutError:
            return f"it was not done after {TIMEOUT_S[target.kind]} s"
        except TellingFailedError as error:
            return str(error)
        except Exception as error:
            _log.exception("an alert could not be told")
            return f"Binwire failed at it ({type(error).__name__}); its log says why"
        return None

    async def _tell(self, target: AlertTarget, notice: Notice) -> None:
        await asyncio.to_thread(importlib.import_module, f"broker.alerts.{target.kind}")
        if target.kind == "webhook":
            from broker.alerts import webhook

            await webhook.tell(target.address, notice)
        elif target.kind == "email":
            from broker.alerts import email

            if self.mail is None:
                raise TellingFailedError("the configuration file has no [mail] any more")
            await email.tell(self.mail, target.address, notice)
        else:
            from broker.alerts import command

            argv = self.commands.get(target.address)
            if argv is None:
                raise TellingFailedError(f"the configuration file has no command {target.address} any more")
            await command.tell(target.address, argv, notice)


class Deliverer:
    """Sends what waits; `keep` makes an incident durable as it is."""

    def __init__(
        self, ways: Ways, clock: Clock, scheduler: Scheduler, keep: Callable[[KeptIncident], Awaitable[None]]
    ) -> None:
        self.ways = ways
        self._clock = clock
        self._scheduler = scheduler
        self._keep = keep
        self._tasks: dict[tuple[str, AlertTarget], asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)
        self._to_one: dict[AlertTarget, asyncio.Semaphore] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self.tries: Counter[tuple[str, str]] = Counter()
        """By kind of target and outcome."""

    def attend(self, incident: KeptIncident) -> None:
        """Have everything sent that waits in an incident."""
        for target in incident.targets_waiting():
            key = (incident.id, target)
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._send(incident, target), name="alert")
                self._tasks[key].add_done_callback(partial(self._ended, key))

    def _ended(self, key: tuple[str, AlertTarget], task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an alert is not told any more", exc_info=error)

    async def close(self) -> None:
        """Stop; what is being told at this moment is told to its end, within `CLOSE_S`."""
        self._is_closing = True
        for task in self._tasks.values():
            if task not in self._telling:
                task.cancel()
        if self._telling:
            await asyncio.wait(self._telling, timeout=CLOSE_S)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _send(self, incident: KeptIncident, target: AlertTarget) -> None:
        task = asyncio.current_task()
        assert task is not None
        to_one = self._to_one.setdefault(target, asyncio.Semaphore(AT_ONCE_TO_ONE_MAX))
        while not self._is_closing and (message := incident.waiting(target)) is not None:
            if message.next_ms is not None and (wait_ms := message.next_ms - self._clock.now_ms()) > 0:
                await sleep(self._scheduler, min(wait_ms, BACKOFF_S[-1] * 1000))
            async with to_one, self._at_once:
                if incident.waiting(target) is not message:
                    continue  # it was withdrawn meanwhile
                self._telling.add(task)
                try:
                    await self._try(incident, message)
                finally:
                    self._telling.discard(task)

    async def _try(self, incident: KeptIncident, message: Message) -> None:
        failure = await self.ways.tell(message.target, incident.notice(message.event))
        message.attempts += 1
        self.tries[message.target.kind, DELIVERED if failure is None else FAILED] += 1
        message.tried_ms, message.next_ms, message.failure = self._clock.now_ms(), None, failure
        if failure is None:
            message.state = DELIVERED
        elif message.attempts >= ATTEMPTS_MAX:
            message.state = FAILED
        else:
            backoff_s = BACKOFF_S[min(message.attempts, len(BACKOFF_S)) - 1]
            message.next_ms = message.tried_ms + backoff_s * 1000
        _tell_outcome(incident, message)
        await self._keep(incident)


def _tell_outcome(incident: KeptIncident, message: Message) -> None:
    shown = message.shown()
    # Not `event`: in a line of JSON that is the sentence.
    facts = {"rule": incident.rule.id, "channel": incident.channel_id, "told": message.event, "target": shown.address}
    if message.failure is None:
        _log.info("alert told", extra=facts)
    elif message.state == FAILED:
        _log.error("alert given up after %d tries: %s", message.attempts, message.failure, extra=facts)
    else:
        _log.warning("alert not told yet: %s", message.failure, extra=facts)

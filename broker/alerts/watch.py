"""The rules in force, and the incidents they find.

At each look of the monitoring every rule is held against all that it is about: an incident begins, goes on or ends
(`judging.py`), is kept in the catalog and then told (`delivery.py`). A catalog that cannot be written keeps nobody from
being told: a full disk is what alerts are for.

Invariants: there is at most one open incident of a rule and what it is about, across restarts; nothing here waits for a
target or the disk while it looks. An incident ends quietly when its rule is deleted, disabled or changed so that it is
not about it any more, and with a message when the channel or group it is about is gone.

Rules of the file come and go with the file; those made by operations are rows of the catalog. Left to others: what the
operations take and give (`operations/alerts.py`), what a rule may be (`rules.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from broker import alert_rules
from broker.alerts import judging, rules
from broker.alerts.delivery import Deliverer, Ways
from broker.alerts.incidents import KeptIncident, Message
from broker.alerts.notice import Notice
from broker.operations.alerts import AlertRule, AlertRules, AlertTarget, Delivery, Incident, Incidents, TestedTargets
from broker.operations.operation import Done, OperationError, Refusal
from storage.catalog_control import AlertRuleRow
from storage.errors import StorageError
from storage.log import resident

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from typing import Any

    from broker.config import Config
    from broker.control import ChannelControl, ChannelView
    from broker.monitoring import Monitoring
    from broker.operations.alerts import ChangeAlertArguments, CreateAlertArguments, IncidentArguments
    from storage.catalog import Catalog
    from storage.clock import Clock
    from storage.scheduler import Scheduler

ENDED_KEPT_MAX: Final = 500
RULES_MAX: Final = 500

_log = logging.getLogger("binwire.alerts")


class Alerts:
    """Watches between `start` and `close`, once each."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        channels: ChannelControl,
        monitoring: Monitoring,
        clock: Clock,
        scheduler: Scheduler,
    ) -> None:
        self._catalog = catalog
        self._channels = channels
        self._monitoring = monitoring
        self._clock = clock
        self._ways = Ways(config.mail, config.alert_commands)
        self._deliverer = Deliverer(self._ways, clock, scheduler, self._keep)
        self._rules = {rule.id: rule for rule in map(rules.rule_of_file, config.alerts)}
        self._incidents: dict[str, KeptIncident] = {}
        """By id, the oldest first."""
        self._open: dict[judging.Key, KeptIncident] = {}
        self._recoveries: dict[judging.Key, judging.Recovery] = {}
        self._errors = judging.Errors()
        self._loaded: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Read what is kept, then watch, and go on with what was not told yet."""
        self._loaded = asyncio.create_task(self._load(), name="alerts")
        self._loaded.add_done_callback(_tell_failure)

    async def close(self) -> None:
        """Stop; incidents that are open stay open."""
        if self._loaded is not None:
            self._loaded.cancel()
            await asyncio.gather(self._loaded, return_exceptions=True)
        await self._deliverer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _load(self) -> None:
        try:
            rule_rows = await self._catalog.run(self._catalog.alert_rules)
            incidents = await self._catalog.run(self._catalog.incidents)
        except StorageError as error:
            _log.error("only the alerts of the file are in force: %s", error)
            rule_rows, incidents = [], []
        for rule_row in rule_rows:
            try:
                rule = msgspec.json.decode(rule_row.rule, type=AlertRule)
            except msgspec.DecodeError as error:
                _log.error("the alert rule %s cannot be read: %s", rule_row.id, error)
            else:
                self._rules[rule.id] = rule
        for row in incidents:
            try:
                incident = KeptIncident.of_row(row)
            except msgspec.DecodeError as error:
                _log.error("the incident %s cannot be read: %s", row.id, error)
            else:
                self._remember(incident)
                self._deliverer.attend(incident)
        self._monitoring.subscribe(self._look)

    async def _wait_loaded(self) -> None:
        if self._loaded is not None:
            await asyncio.shield(self._loaded)

    # --- looking ----------------------------------------------------------------------------------------------------

    def _look(self, now_ms: int, views: Sequence[ChannelView]) -> Iterator[None]:
        """A rule at a time: fifty over a thousand groups take a hundred milliseconds. Meanwhile rules come and go."""
        monotonic_ms = self._clock.monotonic_ms()
        self._errors.note(views, monotonic_ms)
        seen: set[judging.Key] = set()
        for rule_id in tuple(self._rules):
            rule = self._rules.get(rule_id)
            if rule is None or not rule.enabled:
                continue
            for subject in judging.subjects(rule, views):
                seen.add(subject.key(rule))
                self._judge(rule, subject, now_ms, monotonic_ms)
            yield
        for key in self._open.keys() - seen:
            self._judge_unseen(key, views, now_ms, monotonic_ms)

    def _judge(self, rule: AlertRule, subject: judging.Subject, now_ms: int, monotonic_ms: int) -> None:
        key = subject.key(rule)
        value = self._measured(rule, subject, now_ms, monotonic_ms)
        if key in self._open:
            if self._recoveries[key].note(self._is_well(rule, subject, value), monotonic_ms):
                self._end(key, now_ms, f"{subject.words} {judging.ENDED_WORDS[rule.kind]}", is_told=True)
        elif value is not None and value >= rule.threshold_s:
            self._begin(rule, subject, value, now_ms)

    def _measured(self, rule: AlertRule, subject: judging.Subject, now_ms: int, monotonic_ms: int) -> float | None:
        match rule.kind:
            case "delay":
                return judging.delay_s(subject, now_ms)
            case "error":
                return self._errors.seconds(subject.channel, monotonic_ms)
        return self._monitoring.silent_s(subject.channel.id)

    def _is_well(self, rule: AlertRule, subject: judging.Subject, value: float | None) -> bool:
        # Silence that counts from a start of the server is short, and no sign that the source is back.
        is_guess = rule.kind == "no_heartbeat" and not self._monitoring.is_heard(subject.channel.id)
        return not is_guess and judging.is_well(rule, value)

    def _judge_unseen(self, key: judging.Key, views: Sequence[ChannelView], now_ms: int, monotonic_ms: int) -> None:
        """An incident that no rule is about any more: the rule's doing, or is what it is about gone?"""
        rule_id, channel_id, group_id = key
        rule, incident = self._rules.get(rule_id), self._open[key]
        view = next((view for view in views if view.id == channel_id), None)
        is_there = view is not None and (group_id is None or any(group.id == group_id for group in view.groups))
        if rule is None or not rule.enabled or is_there:
            self._end(key, now_ms, "the rule was changed or deleted", is_told=False)
        elif self._recoveries[key].note(True, monotonic_ms):
            what = f"group {incident.group_name}" if view is not None else f"channel {incident.channel_name}"
            self._end(key, now_ms, f"{what} is not there any more", is_told=True)

    def _begin(self, rule: AlertRule, subject: judging.Subject, value: float, now_ms: int) -> None:
        channel, group = subject
        incident = KeptIncident(
            id=f"incident_{secrets.token_hex(8)}",
            rule=rule,
            channel_id=channel.id,
            channel_name=channel.name,
            topic=channel.topic,
            group_id=None if group is None else group.id,
            group_name=None if group is None else group.name,
            begun_ms=now_ms,
            sentence=judging.begun_sentence(rule, subject, value),
            messages=[Message(target, "begun") for target in dict.fromkeys(rule.targets)],
        )
        _log.warning("alert: %s", incident.sentence, extra={"rule": rule.id, "channel": channel.id})
        self._remember(incident)
        self._run(self._keep_and_tell(incident))

    def _end(self, key: judging.Key, now_ms: int, sentence: str, *, is_told: bool) -> None:
        incident = self._open.pop(key)
        del self._recoveries[key]
        minutes, seconds = divmod(max(0, now_ms - incident.begun_ms) // 1000, 60)
        incident.end(now_ms, f"{sentence}, after {minutes} min {seconds} s", is_told=is_told)
        facts = {"rule": incident.rule.id, "channel": incident.channel_id}
        _log.info("alert is over: %s", incident.ended_sentence, extra=facts)
        self._run(self._keep_and_tell(incident))

    def _remember(self, incident: KeptIncident) -> None:
        self._incidents[incident.id] = incident
        if incident.ended_ms is None:
            self._open[incident.key] = incident
            self._recoveries[incident.key] = judging.Recovery()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="alert")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_and_tell(self, incident: KeptIncident) -> None:
        await self._keep(incident)
        self._deliverer.attend(incident)
        await self._forget_oldest()

    async def _keep(self, incident: KeptIncident) -> None:
        try:
            await self._catalog.run(self._catalog.put_incident, incident.row())
        except StorageError as error:
            _log.error("an incident could not be kept, and may be told again after a restart: %s", error)

    async def _forget_oldest(self) -> None:
        ended = [
            each.id for each in self._incidents.values() if each.ended_ms is not None and not each.targets_waiting()
        ]
        oldest = ended[: max(0, len(ended) - ENDED_KEPT_MAX)]
        for incident_id in oldest:
            del self._incidents[incident_id]
        if oldest:
            try:
                await self._catalog.run(self._catalog.delete_incidents, oldest)
            except StorageError as error:
                _log.error("old incidents could not be deleted: %s", error)

    # --- what operations ask ----------------------------------------------------------------------------------------

    @property
    def open_count(self) -> int:
        """Incidents that have begun and not ended."""
        return len(self._open)

    def open_incidents(self) -> list[Incident]:
        """Those, the oldest first."""
        return [incident.shown() for incident in sorted(self._open.values(), key=lambda each: each.begun_ms)]

    def open_counts(self) -> list[tuple[AlertRule, int]]:
        """Every rule and how many of its incidents are open."""
        counts = Counter(key[0] for key in self._open)
        return [(rule, counts[rule.id]) for rule in self._rules.values()]

    def tries(self) -> dict[tuple[str, str], int]:
        """Messages that were tried, by kind of target and outcome, since the start of the server."""
        return dict(self._deliverer.tries)

    async def shown_rules(self) -> AlertRules:
        await self._wait_loaded()
        listed = sorted(self._rules.values(), key=lambda rule: rule.defined_by != rules.FILE)
        return AlertRules(
            tuple(map(self._shown, listed)), tuple(sorted(self._ways.commands)), self._ways.mail is not None
        )

    async def create(self, arguments: CreateAlertArguments) -> AlertRule:
        await self._wait_loaded()
        if len(self._rules) >= RULES_MAX:
            raise OperationError(Refusal.LIMIT_REACHED, f"there are {len(self._rules)} alert rules; delete one first")
        usual = alert_rules.USUAL_THRESHOLD_S[arguments.kind]
        rule = AlertRule(
            id=f"alert_{secrets.token_hex(6)}",
            name=arguments.name,
            channel_id=arguments.channel_id,
            group_id=arguments.group_id,
            kind=arguments.kind,
            threshold_s=usual if arguments.threshold_s is None else arguments.threshold_s,
            targets=arguments.targets,
            enabled=arguments.enabled,
            defined_by=rules.OPERATION,
        )
        return await self._put(rule)

    async def change(self, arguments: ChangeAlertArguments) -> AlertRule:
        await self._wait_loaded()
        rule = self._own(arguments.alert_id)
        given = {
            name: value
            for name in arguments.__struct_fields__
            if name != "alert_id" and (value := getattr(arguments, name)) is not msgspec.UNSET
        }
        if "targets" in given:
            given["targets"] = rules.with_hidden(given["targets"], rule.targets)
        return await self._put(replace(rule, **given))

    async def _put(self, rule: AlertRule) -> AlertRule:
        rules.check(rule, await resident(self._channels.views), self._ways)
        row = AlertRuleRow(rule.id, msgspec.json.encode(rule).decode())
        await self._catalog.run(self._catalog.put_alert_rule, row)
        self._rules[rule.id] = rule
        return self._shown(rule)

    async def delete(self, alert_id: str) -> Done:
        await self._wait_loaded()
        rule = self._own(alert_id)
        await self._catalog.run(self._catalog.delete_alert_rule, rule.id)
        self._rules.pop(rule.id, None)
        return Done(f"the alert rule {rule.name} is deleted; its open incidents end without a message")

    async def test(self, alert_id: str) -> TestedTargets:
        await self._wait_loaded()
        rule = self._found(alert_id)
        now_ms = self._clock.now_ms()
        subject = next(judging.subjects(rule, await resident(self._channels.views)), None)
        notice = Notice(
            id=f"test_{secrets.token_hex(8)}.test",
            event="test",
            incident_id="",
            rule_id=rule.id,
            rule_name=rule.name,
            kind=rule.kind,
            threshold_s=rule.threshold_s,
            channel_id="" if subject is None else subject.channel.id,
            channel_name="no channel" if subject is None else subject.channel.name,
            topic="" if subject is None else subject.channel.topic,
            group_id=None if subject is None or subject.group is None else subject.group.id,
            group_name=None if subject is None or subject.group is None else subject.group.name,
            begun_ms=now_ms,
            ended_ms=None,
            sentence=f"This is a test of the alert rule {rule.name}; nothing has happened.",
        )
        return TestedTargets(tuple(await asyncio.gather(*(self._test(target, notice) for target in rule.targets))))

    async def _test(self, target: AlertTarget, notice: Notice) -> Delivery:
        failure = await self._ways.tell(target, notice)
        state = "delivered" if failure is None else "failed"
        return Message(target, "test", state, 1, self._clock.now_ms(), None, failure).shown()

    async def shown_incidents(self, arguments: IncidentArguments) -> Incidents:
        await self._wait_loaded()
        found = [
            incident.shown()
            for incident in sorted(self._incidents.values(), key=lambda each: -each.begun_ms)
            if arguments.channel_id in (None, incident.channel_id)
            and arguments.alert_id in (None, incident.rule.id)
            and not (arguments.only_open and incident.ended_ms is not None)
        ]
        return Incidents(tuple(found[: arguments.limit]), self.open_count)

    def take(self, config: Config) -> None:
        """Bring the rules of the file, mail and commands to what the file says now."""
        own = {rule.id: rule for rule in self._rules.values() if rule.defined_by != rules.FILE}
        self._rules = {rule.id: rule for rule in map(rules.rule_of_file, config.alerts)} | own
        self._ways.mail, self._ways.commands = config.mail, config.alert_commands

    def _shown(self, rule: AlertRule) -> AlertRule:
        return rules.shown(rule, is_firing=any(key[0] == rule.id for key in self._open))

    def _found(self, alert_id: str) -> AlertRule:
        rule = self._rules.get(alert_id)
        if rule is None:
            raise OperationError(Refusal.NOT_FOUND, f"there is no alert rule {alert_id!r}", field="alert_id")
        return rule

    def _own(self, alert_id: str) -> AlertRule:
        rule = self._found(alert_id)
        if rule.defined_by == rules.FILE:
            raise OperationError(
                Refusal.DEFINED_BY_FILE,
                f"the alert rule {rule.name} is defined by the file; edit its [[alerts]], then run `binwire reload`",
            )
        return rule


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("alerts are not watched for", exc_info=error)

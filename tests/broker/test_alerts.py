"""The watch: what begins an incident and what ends it, that each is told once, and what operations do with rules."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from broker.alerts.delivery import AT_ONCE_MAX, ATTEMPTS_MAX, BACKOFF_S
from broker.alerts.judging import RECOVERY_MS
from broker.alerts.notice import Notice
from broker.alerts.watch import ENDED_KEPT_MAX, Alerts
from broker.config import Config, from_document
from broker.monitoring import FINE_STEP_MS, Monitoring
from broker.operations.alerts import AlertTarget
from broker.operations.operation import Caller, OperationError, Refusal, builtins, call
from broker.operations.plane import ControlPlane, LoggedAudit
from broker.operations.table import BY_NAME
from storage.catalog import Catalog
from storage.errors import StorageError
from tests.broker.views import Shown, channel_view, group_view
from tests.fakes import ManualClock, ManualScheduler

HOOK = "https://hooks.example.com/services/T0/secret"
CALLER = Caller("somebody", "api", "127.0.0.1")
ERROR: dict[str, Any] = {"state": "Error", "reason": "the source is away", "retried_until_ms": 1}
STEPS_TO_RECOVER = RECOVERY_MS // FINE_STEP_MS + 1


def config(*alerts: dict[str, Any], **others: Any) -> Config:
    return from_document({"alerts": list(alerts), **others}, Path("/nowhere"), {})


DELAY = {"name": "late", "kind": "delay", "threshold": "60s", "webhooks": [HOOK]}
GROUPS_DELAY = DELAY | {"group": "*"}
IN_ERROR = {"name": "broken", "kind": "error", "threshold": "30s", "webhooks": [HOOK]}
SILENT = {"name": "silent", "kind": "no_heartbeat", "threshold": "60s", "webhooks": [HOOK]}


class Watch:
    """Alerts over channels that are as a test says; `told` is what targets were told."""

    def __init__(self, catalog: Catalog, clock: ManualClock, settings: Config, *views: Any) -> None:
        self.clock = clock
        self.catalog = catalog
        self.scheduler = ManualScheduler(clock)
        self.channels = Shown(*views)
        self.monitoring = Monitoring(self.channels, clock, self.scheduler)
        self.alerts = Alerts(settings, catalog, self.channels, self.monitoring, clock, self.scheduler)  # type: ignore[arg-type]
        self.told: asyncio.Queue[Notice] = asyncio.Queue()
        self.failures: dict[str, str] = {}
        """By address: why it cannot be told."""
        self.tries: asyncio.Queue[AlertTarget] = asyncio.Queue()
        self.alerts._ways.tell = self._tell  # type: ignore[method-assign]
        self.plane = ControlPlane(clock=clock, channels=self.channels, audit=LoggedAudit())  # type: ignore[arg-type]
        self.plane.alerts = self.alerts

    async def _tell(self, target: AlertTarget, notice: Notice) -> str | None:
        self.tries.put_nowait(target)
        if (failure := self.failures.get(target.address)) is not None:
            return failure
        self.told.put_nowait(notice)
        return None

    def look(self, steps: int = 1, **changes: Any) -> None:
        """Look, once at each step."""
        if changes:
            self.channels.all[0] = replace(self.channels.all[0], **changes)
        for _ in range(steps):
            self.monitoring.note(self.channels.views())
            self.scheduler.advance(FINE_STEP_MS)

    async def events(self, count: int) -> list[str]:
        """So many messages, waited for."""
        return [(await self.told.get()).event for _ in range(count)]

    async def do(self, operation: str, /, **given: Any) -> Any:
        return await call(self.plane, BY_NAME[operation], given, CALLER)

    async def ends_without_telling_more(self) -> None:
        await self.alerts.close()
        assert self.told.empty()


@asynccontextmanager
async def watching(
    folder: Path, settings: Config, *views: Any, clock: ManualClock | None = None
) -> AsyncIterator[Watch]:
    catalog = Catalog.open(folder / "catalog.db")
    try:
        watch = Watch(catalog, clock or ManualClock(), settings, *(views or (channel_view(),)))
        watch.alerts.start()
        await watch.do("list_alerts")  # what is kept is read
        try:
            yield watch
        finally:
            await watch.alerts.close()
    finally:
        catalog.close()


# --- what is an incident ----------------------------------------------------------------------------------------------


async def test_an_incident_is_told_when_it_begins_and_when_it_is_over(tmp_path: Path) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        watch.look(steps=3, lag_ms=59_999)
        watch.look(steps=3, lag_ms=61_000)
        begun = await watch.told.get()
        assert (begun.event, begun.channel_id, begun.rule_name) == ("begun", "shop", "late")
        assert begun.sentence == "channel Shop (shop) is 61 s behind, of 60 s allowed"
        watch.look(steps=STEPS_TO_RECOVER, lag_ms=100)
        ended = await watch.told.get()
        assert (ended.event, ended.incident_id) == ("ended", begun.incident_id)
        assert ended.sentence.startswith("channel Shop (shop) is no longer behind, after 0 min 4")
        await watch.ends_without_telling_more()


async def test_what_swings_about_the_threshold_is_one_incident(tmp_path: Path) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        for _ in range(20):
            watch.look(steps=2, lag_ms=61_000)
            watch.look(steps=2, lag_ms=100)
            watch.look(steps=20, lag_ms=55_000)  # above four fifths: not well
        assert await watch.events(1) == ["begun"]
        watch.look(steps=STEPS_TO_RECOVER - 1, lag_ms=47_000)
        watch.look(lag_ms=50_000)
        watch.look(steps=STEPS_TO_RECOVER, lag_ms=47_000)
        assert await watch.events(1) == ["ended"]
        await watch.ends_without_telling_more()


async def test_what_is_not_known_neither_begins_nor_ends_an_incident(tmp_path: Path) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        watch.look(steps=50, lag_ms=None)
        watch.look(lag_ms=61_000)
        assert await watch.events(1) == ["begun"]
        watch.look(steps=50, lag_ms=None)
        watch.look(lag_ms=61_000)
        await watch.ends_without_telling_more()


async def test_an_error_counts_from_its_threshold_on_and_at_once_where_somebody_has_to_act(tmp_path: Path) -> None:
    async with watching(tmp_path, config(IN_ERROR)) as watch:
        watch.look(steps=6, **ERROR)
        watch.look(steps=2, state="Normal", reason=None)
        watch.look(steps=6, **ERROR)
        assert watch.alerts.open_count == 0
        watch.look(**ERROR)
        begun = await watch.told.get()
        assert begun.sentence == (
            "channel Shop (shop) is in state Error and is tried again by itself: the source is away"
        )
        watch.look(steps=STEPS_TO_RECOVER, state="Normal", reason=None)
        assert await watch.events(1) == ["ended"]
        watch.look(**(ERROR | {"retried_until_ms": None}))
        assert "needs action" in (await watch.told.get()).sentence


async def test_an_error_between_tries_that_stream_for_a_moment_is_one(tmp_path: Path) -> None:
    async with watching(tmp_path, config(IN_ERROR)) as watch:
        for _ in range(10):
            watch.look(steps=3, **ERROR)
            watch.look(state="Performing Initial Change Tracking", reason=None)
            watch.look(state="Normal")
        assert await watch.events(1) == ["begun"]
        await watch.ends_without_telling_more()


async def test_silence_of_the_source_counts_also_without_a_session(tmp_path: Path) -> None:
    async with watching(tmp_path, config(SILENT)) as watch:
        watch.look(silent_ms=0)
        watch.look(steps=12, state="Error", silent_ms=None)
        begun = await watch.told.get()
        assert begun.sentence == "nothing was heard from the source of channel Shop (shop) for 60 s"
        watch.look(steps=STEPS_TO_RECOVER, state="Normal", silent_ms=500)
        assert await watch.events(1) == ["ended"]


async def test_a_source_that_is_silent_over_a_restart_is_one_incident_until_it_is_heard(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(SILENT), clock=clock) as watch:
        watch.look(silent_ms=0)
        watch.look(steps=12, state="Error", silent_ms=None)
        assert await watch.events(1) == ["begun"]
    away = channel_view(state="Error", silent_ms=None)
    async with watching(tmp_path, config(SILENT), away, clock=clock) as watch:
        watch.look(steps=30)
        watch.look(state="Prechecking")
        watch.look(steps=30, state="Error")
        assert watch.alerts.open_count == 1
        watch.look(steps=STEPS_TO_RECOVER, state="Normal", silent_ms=0)
        assert await watch.events(1) == ["ended"]
        await watch.ends_without_telling_more()


async def test_rules_may_come_and_go_while_the_others_are_looked_at(tmp_path: Path) -> None:
    late = {"kind": "delay", "threshold": "60s", "webhooks": [HOOK]}
    async with watching(tmp_path, config(*({"name": name} | late for name in ("a", "b", "c")))) as watch:
        watch.look(lag_ms=61_000)
        assert await watch.events(3) == ["begun"] * 3
        look = watch.alerts._look(watch.clock.now_ms(), watch.channels.views())
        next(look)  # the first rule is looked at, and the loop has its turn
        watch.alerts.take(config({"name": "a"} | late, {"name": "b", "group": "*"} | late, {"name": "d"} | late))
        assert len(list(look)) == 1
        # `b` is about groups now, `c` is gone, and the next look is the first at `d`.
        assert [incident.rule_name for incident in watch.alerts.open_incidents()] == ["a"]
        await watch.ends_without_telling_more()


async def test_the_delay_of_a_group_counts_also_while_no_client_is_connected(tmp_path: Path) -> None:
    async with watching(tmp_path, config(GROUPS_DELAY)) as watch:
        stood_ms = watch.clock.now_ms()
        never = group_view(id="dts2", behind=None)
        done = group_view(id="dts3", offset=9, behind=0, consume_timestamp_ms=1)
        died = group_view(offset=5, behind=4, consume_timestamp_ms=stood_ms)
        watch.look(steps=13, groups=(died, never, done))
        begun = await watch.told.get()
        assert (begun.group_id, begun.group_name) == ("dts1", "readers")
        assert begun.sentence == (
            "group readers (dts1) of channel Shop (shop) is 60 s behind, of 60 s allowed; 4 messages remain"
        )
        watch.look(steps=STEPS_TO_RECOVER, groups=(group_view(delay_s=0, remaining=0), never, done))
        assert await watch.events(1) == ["ended"]
        await watch.ends_without_telling_more()


async def test_a_rule_is_about_what_it_names(tmp_path: Path) -> None:
    one = DELAY | {"channel": "b", "group": "dts2"}
    groups = (group_view(delay_s=99), group_view(id="dts2", delay_s=99))
    views = [channel_view(id=each, groups=groups, lag_ms=99_000) for each in ("a", "b")]
    async with watching(tmp_path, config(one, DELAY | {"name": "all channels"}), *views) as watch:
        watch.look()
        told = {
            (notice.rule_name, notice.channel_id, notice.group_id)
            for notice in [await watch.told.get() for _ in range(3)]
        }
        assert told == {("late", "b", "dts2"), ("all channels", "a", None), ("all channels", "b", None)}
        await watch.ends_without_telling_more()


async def test_an_incident_of_what_is_gone_ends_and_is_told(tmp_path: Path) -> None:
    late = channel_view(id="b", name="B", lag_ms=99_000)
    async with watching(tmp_path, config(DELAY), channel_view(), late) as watch:
        watch.look()
        assert await watch.events(1) == ["begun"]
        watch.channels.all.pop()
        watch.look(steps=STEPS_TO_RECOVER)
        assert (await watch.told.get()).sentence.startswith("channel B is not there any more")


async def test_a_disabled_rule_of_the_file_finds_nothing_and_an_open_incident_ends_quietly(tmp_path: Path) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        watch.look(lag_ms=99_000)
        assert await watch.events(1) == ["begun"]
        watch.alerts.take(config(DELAY | {"enabled": False}))
        watch.look()
        assert watch.alerts.open_count == 0
        [incident] = (await watch.do("list_incidents")).incidents
        assert incident.ended_ms is not None
        await watch.ends_without_telling_more()


# --- told once, whatever happens --------------------------------------------------------------------------------------


async def test_an_incident_goes_on_over_a_restart_and_is_told_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(IN_ERROR), channel_view(**ERROR), clock=clock) as watch:
        watch.look(steps=8)
        begun = await watch.told.get()
    passing = channel_view(state="Not Started")
    async with watching(tmp_path, config(IN_ERROR), passing, clock=clock) as watch:
        assert watch.alerts.open_count == 1
        watch.look(steps=50)
        watch.look(steps=8, **ERROR)
        await watch.alerts.close()
        assert watch.told.empty()
    async with watching(tmp_path, config(IN_ERROR), channel_view(), clock=clock) as watch:
        watch.look(steps=STEPS_TO_RECOVER)
        ended = await watch.told.get()
        assert (ended.event, ended.incident_id) == ("ended", begun.incident_id)
    async with watching(tmp_path, config(IN_ERROR), clock=clock) as watch:
        watch.look(steps=STEPS_TO_RECOVER)
        assert watch.alerts.open_count == 0
        await watch.ends_without_telling_more()


async def test_what_was_not_told_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(DELAY), clock=clock) as watch:
        watch.failures[HOOK] = "it answered 500"
        watch.look(lag_ms=99_000)
        await watch.tries.get()
        watch.look(steps=STEPS_TO_RECOVER, lag_ms=0)
        await watch.alerts.close()
    async with watching(tmp_path, config(), clock=clock) as watch:
        watch.scheduler.advance(BACKOFF_S[-1] * 1000)
        assert await watch.events(2) == ["begun", "ended"]
        await watch.ends_without_telling_more()


async def test_a_target_that_cannot_be_told_is_tried_at_growing_intervals_and_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        watch.failures[HOOK] = "it answered 503"
        watch.look(lag_ms=99_000)
        await watch.tries.get()
        waited = []
        for _ in range(ATTEMPTS_MAX - 1):
            delivery = await tried(watch)
            waited.append((delivery.next_ms - delivery.tried_ms) // 1000)
            assert (delivery.state, delivery.failure) == ("waiting", "it answered 503")
            watch.scheduler.advance(waited[-1] * 1000)
            await watch.tries.get()
        assert tuple(waited[: len(BACKOFF_S)]) == BACKOFF_S
        assert set(waited[len(BACKOFF_S) :]) == {BACKOFF_S[-1]}
        assert sum(waited) >= 22 * 3600
        delivery = await tried(watch)
        assert (delivery.state, delivery.attempts, delivery.next_ms) == ("failed", ATTEMPTS_MAX, None)
        told = [record for record in caplog.records if hasattr(record, "target")]
        assert [record.getMessage() for record in told] == [
            *["alert not told yet: it answered 503"] * (ATTEMPTS_MAX - 1),
            f"alert given up after {ATTEMPTS_MAX} tries: it answered 503",
        ]
        assert not any(hasattr(record, "event") for record in told), "it would take the sentence's place in the log"
        # Who never heard that it began is not told that it is over.
        watch.look(steps=STEPS_TO_RECOVER, lag_ms=0)
        await watch.alerts.close()
        assert watch.tries.empty()


async def tried(watch: Watch) -> Any:
    """The one delivery, once what came of the last try is kept and the next one is waited for."""
    while True:
        await watch.catalog.run(int)
        [incident] = (await watch.do("list_incidents")).incidents
        [delivery] = incident.deliveries
        if delivery.state == "failed" or (delivery.next_ms is not None and watch.scheduler.pending):
            return delivery


async def test_one_target_that_hangs_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    other = "https://other.example.com/hook"
    late = [channel_view(id=f"c{number}", lag_ms=99_000) for number in range(2 * AT_ONCE_MAX)]
    async with watching(tmp_path, config(DELAY | {"webhooks": [HOOK, other]}), *late) as watch:
        hangs, usual = asyncio.Event(), watch.alerts._ways.tell

        async def tell(target: AlertTarget, notice: Notice) -> str | None:
            if target.address == HOOK:
                await hangs.wait()
            return await usual(target, notice)

        watch.alerts._ways.tell = tell  # type: ignore[method-assign]
        watch.look()
        assert [(await watch.tries.get()).address for _ in late] == [other] * len(late)
        hangs.set()
        assert [(await watch.tries.get()).address for _ in late] == [HOOK] * len(late)


async def test_a_target_that_is_being_told_when_the_server_ends_is_told_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(DELAY), clock=clock) as watch:
        begun, goes_on, usual = asyncio.Event(), asyncio.Event(), watch.alerts._ways.tell

        async def tell(target: AlertTarget, notice: Notice) -> str | None:
            begun.set()
            await goes_on.wait()
            return await usual(target, notice)

        watch.alerts._ways.tell = tell  # type: ignore[method-assign]
        watch.look(lag_ms=99_000)
        await begun.wait()
        closing = asyncio.create_task(watch.alerts.close())
        await asyncio.sleep(0)
        goes_on.set()
        await closing
        assert watch.told.qsize() == 1
    async with watching(tmp_path, config(DELAY), channel_view(lag_ms=99_000), clock=clock) as watch:
        watch.look()
        await watch.ends_without_telling_more()


def as_killed(folder: Path) -> Path:
    """What a server that is killed at this moment leaves behind."""
    left = folder / "left"
    left.mkdir()
    for file in folder.glob("catalog.db*"):
        shutil.copy(file, left)
    return left


async def test_a_server_that_is_killed_between_two_tries_goes_on_with_them(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(DELAY), clock=clock) as watch:
        watch.failures[HOOK] = "it answered 500"
        watch.look(lag_ms=99_000)
        await watch.tries.get()
        await tried(watch)
        left = as_killed(tmp_path)
    async with watching(left, config(DELAY), channel_view(lag_ms=99_000), clock=clock) as watch:
        watch.look()
        watch.scheduler.advance(BACKOFF_S[0] * 1000)
        assert await watch.events(1) == ["begun"]
        [incident] = (await watch.do("list_incidents")).incidents
        assert incident.deliveries[0].attempts == 2
        await watch.ends_without_telling_more()


async def test_a_server_that_is_killed_while_it_tells_says_the_same_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(DELAY), clock=clock) as watch:
        usual = watch.alerts._ways.tell
        left: list[Path] = []

        async def tell(target: AlertTarget, notice: Notice) -> str | None:
            left.append(as_killed(tmp_path))
            return await usual(target, notice)

        watch.alerts._ways.tell = tell  # type: ignore[method-assign]
        watch.look(lag_ms=99_000)
        begun = await watch.told.get()
    async with watching(left[0], config(DELAY), channel_view(lag_ms=99_000), clock=clock) as watch:
        watch.look()
        again = await watch.told.get()
        assert (again.id, again.incident_id, again.event) == (begun.id, begun.incident_id, "begun")
        await watch.ends_without_telling_more()


async def test_a_catalog_that_cannot_be_written_keeps_nobody_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(row: Any) -> None:
        raise StorageError("the disk is full")

    async with watching(tmp_path, config(DELAY)) as watch:
        monkeypatch.setattr(watch.catalog, "put_incident", full)
        watch.look(lag_ms=99_000)
        assert await watch.events(1) == ["begun"]
        assert "the disk is full" in caplog.text


async def test_so_many_incidents_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.alerts.watch.ENDED_KEPT_MAX", 3)
    assert ENDED_KEPT_MAX == 500
    clock = ManualClock()
    async with watching(tmp_path, config(DELAY), clock=clock) as watch:
        for _ in range(6):
            watch.look(lag_ms=99_000)
            watch.look(steps=STEPS_TO_RECOVER, lag_ms=0)
            assert await watch.events(2) == ["begun", "ended"]
        watch.look(lag_ms=99_000)
        await watch.told.get()
        await watch.alerts.close()
        newest = watch.alerts._incidents
        assert len(watch.catalog.incidents()) == len(newest) <= 3 + 2
    async with watching(tmp_path, config(DELAY), clock=clock) as watch:
        assert watch.alerts._incidents.keys() == newest.keys()
        assert watch.alerts.open_count == 1


# --- operations -------------------------------------------------------------------------------------------------------


def webhook(address: str = HOOK) -> dict[str, str]:
    return {"kind": "webhook", "address": address}


async def test_rules_are_created_changed_and_deleted_and_in_force_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with watching(tmp_path, config(), clock=clock) as watch:
        made = await watch.do("create_alert", name="late", kind="delay", targets=[webhook()])
        assert (made.threshold_s, made.defined_by, made.enabled, made.is_firing) == (60, "operation", True, False)
        watch.look(lag_ms=61_000)
        assert await watch.events(1) == ["begun"]
        [shown] = (await watch.do("list_alerts")).rules
        assert shown.is_firing
        changed = await watch.do("change_alert", alert_id=made.id, threshold_s=600)
        assert (changed.threshold_s, changed.name) == (600, "late")
        watch.look(steps=STEPS_TO_RECOVER)
        assert await watch.events(1) == ["ended"]
    async with watching(tmp_path, config(), clock=clock) as watch:
        [kept] = (await watch.do("list_alerts")).rules
        assert (kept.id, kept.threshold_s) == (made.id, 600)
        done = await watch.do("delete_alert", alert_id=made.id)
        assert "late is deleted" in done.message
        assert (await watch.do("list_alerts")).rules == ()
        watch.look(lag_ms=999_000)
        await watch.ends_without_telling_more()
    async with watching(tmp_path, config(), clock=clock) as watch:
        assert (await watch.do("list_alerts")).rules == ()


async def test_the_secret_of_a_webhook_never_comes_out_and_stays_when_it_is_given_as_shown(tmp_path: Path) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        made = await watch.do("create_alert", name="late too", kind="delay", targets=[webhook(), webhook()])
        shown = made.targets[0].address
        assert shown == "https://hooks.example.com/…"
        changed = await watch.do(
            "change_alert", alert_id=made.id, name="renamed", targets=[webhook(shown), webhook("https://b.example/x")]
        )
        assert changed.name == "renamed"
        assert [target.address for target in watch.alerts._rules[made.id].targets] == [HOOK, "https://b.example/x"]
        watch.look(lag_ms=99_000)
        await watch.events(3)
        told = [builtins(await watch.do(name)) for name in ("list_alerts", "list_incidents")]
        assert "secret" not in repr(told)
        with pytest.raises(OperationError, match="shortened for showing"):
            await watch.do("create_alert", name="x", kind="delay", targets=[webhook(shown)])


async def test_rules_of_the_file_are_shown_first_and_not_changed(tmp_path: Path) -> None:
    async with watching(tmp_path, config(DELAY)) as watch:
        await watch.do("create_alert", name="a", kind="error", targets=[])
        listed = await watch.do("list_alerts")
        assert [rule.defined_by for rule in listed.rules] == ["file", "operation"]
        for name in ("change_alert", "delete_alert"):
            with pytest.raises(OperationError, match="binwire reload") as refused:
                await watch.do(name, alert_id=listed.rules[0].id)
            assert refused.value.refusal is Refusal.DEFINED_BY_FILE


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"targets": [webhook("ftp://a/b")]}, "targets.0..address: found a text that is no address of a web server"),
        ({"targets": [webhook("https://a b/")]}, "without spaces"),
        ({"targets": [webhook("https://a/\r\nX: y")]}, "without spaces"),
        ({"targets": [{"kind": "email", "address": "a@b.example"}]}, r"has no \[mail\]"),
        ({"targets": [{"kind": "email", "address": "a@b, c@d"}]}, "one address such as"),
        (
            {"targets": [{"kind": "command", "address": "rm"}]},
            "the name of a command of the configuration file: one of page",
        ),
        ({"targets": [{"kind": "command", "address": "/bin/sh"}]}, "the name of a command"),
        ({"channel_id": "nope"}, "there is no channel 'nope'"),
        ({"channel_id": "shop", "group_id": "nope"}, "shop has no group 'nope'"),
        ({"group_id": "dts1"}, "without a channel"),
        ({"kind": "error", "group_id": "*"}, "error is of a channel"),
        ({"threshold_s": 0}, "1 to 604800 seconds"),
        ({"kind": "else"}, "kind: Invalid enum value"),
        ({"targets": [webhook()] * 17}, "length <= 16"),
    ],
)
async def test_what_cannot_be_a_rule_is_refused_with_a_sentence(
    tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    async with watching(tmp_path, config(alert_commands={"page": ["/bin/true"]})) as watch:
        with pytest.raises(OperationError, match=sentence):
            await watch.do("create_alert", **({"name": "x", "kind": "delay", "targets": []} | given))
        assert (await watch.do("list_alerts")).rules == ()


async def test_an_unknown_rule_is_named(tmp_path: Path) -> None:
    async with watching(tmp_path, config()) as watch:
        for name in ("change_alert", "delete_alert", "test_alert"):
            with pytest.raises(OperationError, match="there is no alert rule 'nope'"):
                await watch.do(name, alert_id="nope")


async def test_a_test_tells_each_target_once_and_what_came_of_it(tmp_path: Path) -> None:
    other = "https://other.example.com/hook"
    async with watching(tmp_path, config(DELAY | {"webhooks": [HOOK, other]})) as watch:
        watch.failures[other] = "it answered 404"
        [rule] = (await watch.do("list_alerts")).rules
        tested = await watch.do("test_alert", alert_id=rule.id)
        assert [(each.address, each.state, each.failure) for each in tested.deliveries] == [
            ("https://hooks.example.com/…", "delivered", None),
            ("https://other.example.com/…", "failed", "it answered 404"),
        ]
        notice = await watch.told.get()
        assert (notice.event, notice.channel_id) == ("test", "shop")
        assert (await watch.do("list_incidents")).incidents == ()


async def test_incidents_are_listed_newest_first_by_what_is_asked(tmp_path: Path) -> None:
    views = [channel_view(id=each, lag_ms=0) for each in ("a", "b")]
    async with watching(tmp_path, config(DELAY), *views) as watch:
        watch.look(lag_ms=99_000)
        watch.channels.all[1] = replace(views[1], lag_ms=99_000)
        watch.look(steps=STEPS_TO_RECOVER + 1, lag_ms=0)
        await watch.events(3)
        assert [each.channel_id for each in (await watch.do("list_incidents")).incidents] == ["b", "a"]
        still = await watch.do("list_incidents", only_open=True)
        assert ([each.channel_id for each in still.incidents], still.open_count) == (["b"], 1)
        assert [each.channel_id for each in (await watch.do("list_incidents", channel_id="a")).incidents] == ["a"]
        assert (await watch.do("list_incidents", alert_id="nope")).incidents == ()
        assert len((await watch.do("list_incidents", limit=1)).incidents) == 1


async def test_a_row_of_another_version_keeps_nothing_else_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path, config()) as watch:
        made = await watch.do("create_alert", name="a", kind="error", targets=[])
        row = watch.catalog.alert_rules()[0]
        await watch.catalog.run(watch.catalog.put_alert_rule, replace(row, id="other", rule='{"kind": "new"}'))
    async with watching(tmp_path, config()) as watch:
        assert [rule.id for rule in (await watch.do("list_alerts")).rules] == [made.id]
        assert "the alert rule other cannot be read" in caplog.text

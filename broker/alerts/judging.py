"""Whether something is an incident: what a rule measures, and hysteresis.

Everything is measured in seconds and held against the rule's threshold. None is what is not known now, which neither
begins an incident nor ends one. An incident ends when what it is about was well for `RECOVERY_MS` without a break: in
Normal, or below `RECOVERED_SHARE` of the threshold, so that what swings about the threshold is one incident.

The delay of a group is measured also while none of its clients is connected: a consumer that died is what alerts are
for. A group that never committed has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.alert_rules import EVERY_GROUP

if TYPE_CHECKING:
    from broker.control import ChannelView, GroupView
    from broker.operations.alerts import AlertRule

RECOVERY_MS: Final = 30_000
RECOVERED_SHARE: Final = 0.8
WELL: Final = -1.0
"""Below every share of every threshold."""
AT_ONCE: Final = float("inf")

NORMAL: Final = "Normal"
ERROR: Final = "Error"

Key = tuple[str, str, "str | None"]


class Subject(NamedTuple):
    """What a rule is about: a channel, or a group of it."""

    channel: ChannelView
    group: GroupView | None

    def key(self, rule: AlertRule) -> Key:
        return rule.id, self.channel.id, None if self.group is None else self.group.id

    @property
    def words(self) -> str:
        if self.group is None:
            return f"channel {self.channel.name} ({self.channel.id})"
        return f"group {self.group.name} ({self.group.id}) of channel {self.channel.name} ({self.channel.id})"


def subjects(rule: AlertRule, views: Sequence[ChannelView]) -> Iterator[Subject]:
    """All that a rule is about among what there is."""
    for view in views:
        if rule.channel_id not in (None, view.id):
            continue
        if rule.group_id is None:
            yield Subject(view, None)
            continue
        yield from (Subject(view, group) for group in view.groups if rule.group_id in (EVERY_GROUP, group.id))


class Errors:
    """How long channels have been in Error. One that streams for a moment between two tries has not left it."""

    def __init__(self) -> None:
        self._since_ms: dict[str, int] = {}
        self._were_normal: set[str] = set()

    def note(self, views: Sequence[ChannelView], monotonic_ms: int) -> None:
        normal = {view.id for view in views if view.state == NORMAL}
        for view in views:
            if view.state == ERROR:
                self._since_ms.setdefault(view.id, monotonic_ms)
        gone = self._since_ms.keys() - {view.id for view in views}
        for channel_id in gone | (normal & self._were_normal):
            self._since_ms.pop(channel_id, None)
        self._were_normal = normal

    def seconds(self, view: ChannelView, monotonic_ms: int) -> float | None:
        """At once where somebody has to act; None where it is on its way to another state."""
        if view.state == NORMAL:
            return WELL
        if view.state != ERROR:
            return None
        if view.retried_until_ms is None:
            return AT_ONCE
        return (monotonic_ms - self._since_ms.get(view.id, monotonic_ms)) / 1000


def delay_s(subject: Subject, now_ms: int) -> float | None:
    """How far a channel is behind its source, or a group behind its channel."""
    group = subject.group
    if group is None:
        lag_ms = subject.channel.lag_ms
        return None if lag_ms is None else lag_ms / 1000
    if group.delay_s >= 0:
        return group.delay_s
    if group.behind is None:
        return None
    if group.behind == 0:
        return 0.0
    return None if group.consume_timestamp_ms is None else max(0.0, (now_ms - group.consume_timestamp_ms) / 1000)


class Recovery:
    """Whether an incident is over."""

    def __init__(self) -> None:
        self._well_since_ms: int | None = None

    def note(self, is_well: bool, monotonic_ms: int) -> bool:
        """Whether it was well for long enough."""
        if not is_well:
            self._well_since_ms = None
            return False
        if self._well_since_ms is None:
            self._well_since_ms = monotonic_ms
        return monotonic_ms - self._well_since_ms >= RECOVERY_MS


def is_well(rule: AlertRule, value: float | None) -> bool:
    """Whether this is clearly not what the rule is about."""
    if value is None or rule.kind == "error":
        return value == WELL
    return value < RECOVERED_SHARE * rule.threshold_s


def begun_sentence(rule: AlertRule, subject: Subject, value: float) -> str:
    """What has begun, for people."""
    channel = subject.channel
    match rule.kind:
        case "delay":
            group = subject.group
            remain = "" if group is None or not group.behind else f"; {group.behind} messages remain"
            return f"{subject.words} is {_seconds(value)} behind, of {rule.threshold_s} s allowed{remain}"
        case "error":
            act = "needs action" if channel.retried_until_ms is None else "is tried again by itself"
            return f"{subject.words} is in state {channel.state} and {act}: {channel.reason or 'no reason is known'}"
    return f"nothing was heard from the source of {subject.words} for {_seconds(value)}"


ENDED_WORDS: Final = {
    "delay": "is no longer behind",
    "error": "is in state Normal again",
    "no_heartbeat": "hears its source again",
}


def _seconds(value: float) -> str:
    return f"{value:.0f} s"

"""An incident with its messages, as it is kept: one row of the catalog's `incidents`, JSON.

Owns what is told of it and to whom. The row has the rule as it was, with the whole addresses of its targets, so that a
message that waits is sent where it was to go whatever becomes of the rule; what is shown has none of that.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from broker.alert_rules import shown_address
from broker.alerts.notice import Event, Notice
from broker.operations.alerts import AlertRule, AlertTarget, Delivery, Incident
from storage.catalog_control import IncidentRow

WAITING: Final = "waiting"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"


class Message(Struct):
    """One event of an incident to one target."""

    target: AlertTarget
    event: Event
    state: str = WAITING
    attempts: int = 0
    tried_ms: int | None = None
    next_ms: int | None = None
    failure: str | None = None

    def shown(self) -> Delivery:
        return Delivery(
            kind=self.target.kind,
            address=shown_address(self.target.kind, self.target.address),
            event=self.event,
            state=self.state,
            attempts=self.attempts,
            tried_ms=self.tried_ms,
            next_ms=self.next_ms,
            failure=self.failure,
        )


class KeptIncident(Struct):
    """An incident. Messages of one target stand in the order in which they are sent."""

    id: str
    rule: AlertRule
    channel_id: str
    channel_name: str
    topic: str
    group_id: str | None
    group_name: str | None
    begun_ms: int
    sentence: str
    ended_ms: int | None = None
    ended_sentence: str | None = None
    messages: list[Message] = []

    @property
    def key(self) -> tuple[str, str, str | None]:
        return self.rule.id, self.channel_id, self.group_id

    def end(self, now_ms: int, sentence: str, *, is_told: bool) -> None:
        """It is over; whoever was told that it had begun, or is still to be told, is told of it."""
        self.ended_ms, self.ended_sentence = now_ms, sentence
        if is_told:
            told = [message.target for message in self.messages if message.state != FAILED]
            self.messages += [Message(target, "ended") for target in told]
        else:
            for message in self.messages:
                if message.state == WAITING:
                    message.state, message.failure = FAILED, "the rule was changed or deleted before"

    def waiting(self, target: AlertTarget) -> Message | None:
        """What is to be sent to a target next."""
        return next((each for each in self.messages if each.target == target and each.state == WAITING), None)

    def targets_waiting(self) -> list[AlertTarget]:
        return list(dict.fromkeys(message.target for message in self.messages if message.state == WAITING))

    def notice(self, event: Event) -> Notice:
        return Notice(
            id=f"{self.id}.{event}",
            event=event,
            incident_id=self.id,
            rule_id=self.rule.id,
            rule_name=self.rule.name,
            kind=self.rule.kind,
            threshold_s=self.rule.threshold_s,
            channel_id=self.channel_id,
            channel_name=self.channel_name,
            topic=self.topic,
            group_id=self.group_id,
            group_name=self.group_name,
            begun_ms=self.begun_ms,
            ended_ms=self.ended_ms if event == "ended" else None,
            sentence=self.ended_sentence or "" if event == "ended" else self.sentence,
        )

    def shown(self) -> Incident:
        return Incident(
            id=self.id,
            rule_id=self.rule.id,
            rule_name=self.rule.name,
            kind=self.rule.kind,
            channel_id=self.channel_id,
            group_id=self.group_id,
            begun_ms=self.begun_ms,
            ended_ms=self.ended_ms,
            sentence=self.sentence,
            deliveries=tuple(message.shown() for message in self.messages),
        )

    def row(self) -> IncidentRow:
        return IncidentRow(self.id, self.begun_ms, msgspec.json.encode(self).decode())

    @classmethod
    def of_row(cls, row: IncidentRow) -> Any:
        """Raises msgspec.DecodeError for what another version wrote in another form."""
        return msgspec.json.decode(row.incident, type=cls)

"""Alerts: rules, the targets that are told, and incidents.

Owns the structs and the operations on them; `broker/alerts/` watches and delivers. Rules of the configuration file are
shown and not changed here. The address of a webhook may hold a secret: it is shown up to its host, and an address that
is given as it was shown stays what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from broker.operations.operation import Done, NoArguments, Operation

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane

AlertKind = Literal["delay", "error", "no_heartbeat"]
TargetKind = Literal["webhook", "email", "command"]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Seconds = Annotated[int, Meta(ge=0, le=7 * 86_400)]

EVERY_GROUP: Final = "*"
"""As `group_id` of a rule: each group by itself."""


class AlertTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told: the URL of a `webhook`, an `email` address, or the name of a `command` that the file defines."""

    kind: TargetKind
    address: Annotated[str, Meta(min_length=1, max_length=2048)]


Targets = Annotated[tuple[AlertTarget, ...], Meta(max_length=16)]


class AlertRule(Struct, frozen=True):
    """What is an incident, and who is told. `channel_id` None: each channel by itself.

    `delay`: behind for `threshold_s` seconds or more: the channel behind its source where `group_id` is None, one
    group behind the channel, or each (`*`). `error`: in state Error for that long. `no_heartbeat`: nothing heard from
    the source for that long.
    """

    id: str
    name: str
    channel_id: str | None
    group_id: str | None
    kind: AlertKind
    threshold_s: int
    targets: tuple[AlertTarget, ...]
    enabled: bool
    defined_by: str
    is_firing: bool = False
    """Whether an incident of this rule has begun and not ended."""


class AlertRules(Struct, frozen=True):
    """All rules, those of the file first. `commands` are the names that targets may use, `is_mail_set_up` whether mail
    can be sent.
    """

    rules: tuple[AlertRule, ...]
    commands: tuple[str, ...]
    is_mail_set_up: bool


class CreateAlertArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """A new rule; `threshold_s` None is the usual one of its kind."""

    name: Name
    kind: AlertKind
    targets: Targets
    channel_id: str | None = None
    group_id: str | None = None
    threshold_s: Seconds | None = None
    enabled: bool = True


class ChangeAlertArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays; an incident that is open goes on under the changed rule, or ends if it is not of it."""

    alert_id: str
    name: Name | UnsetType = UNSET
    kind: AlertKind | UnsetType = UNSET
    targets: Targets | UnsetType = UNSET
    channel_id: str | UnsetType | None = UNSET
    group_id: str | UnsetType | None = UNSET
    threshold_s: Seconds | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class AlertArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rule."""

    alert_id: str


class Delivery(Struct, frozen=True):
    """One message to one target: that an incident has `begun`, or has `ended`.

    `waiting`: it is tried at `next_ms`; `failed`: it was given up. `failure` says in a sentence why the last try did
    not succeed.
    """

    kind: TargetKind
    address: str
    event: str
    state: str
    attempts: int
    tried_ms: int | None = None
    next_ms: int | None = None
    failure: str | None = None


class Incident(Struct, frozen=True):
    """What a rule found, from when it began until it ended; `ended_ms` None: it goes on."""

    id: str
    rule_id: str
    rule_name: str
    kind: AlertKind
    channel_id: str
    group_id: str | None
    begun_ms: int
    ended_ms: int | None
    sentence: str
    deliveries: tuple[Delivery, ...]


class IncidentArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which incidents: all, those of a channel or rule, or those that go on; newest first."""

    channel_id: str | None = None
    alert_id: str | None = None
    only_open: bool = False
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Incidents(Struct, frozen=True):
    """The newest incidents, and how many go on in all."""

    incidents: tuple[Incident, ...]
    open_count: int


class TestedTargets(Struct, frozen=True):
    """What came of a message to each target, tried once."""

    deliveries: tuple[Delivery, ...]


async def list_alerts(plane: ControlPlane, arguments: NoArguments) -> AlertRules:
    """All rules."""
    return await plane.alerts.shown_rules()


async def create_alert(plane: ControlPlane, arguments: CreateAlertArguments) -> AlertRule:
    """Keep a new rule, which is in force at once."""
    return await plane.alerts.create(arguments)


async def change_alert(plane: ControlPlane, arguments: ChangeAlertArguments) -> AlertRule:
    """Keep a rule as it is to be from now on."""
    return await plane.alerts.change(arguments)


async def delete_alert(plane: ControlPlane, arguments: AlertArguments) -> Done:
    """Forget a rule; its open incidents end without a message."""
    return await plane.alerts.delete(arguments.alert_id)


async def test_alert(plane: ControlPlane, arguments: AlertArguments) -> TestedTargets:
    """Send one message that says it is a test to each target of a rule."""
    return await plane.alerts.test(arguments.alert_id)


async def list_incidents(plane: ControlPlane, arguments: IncidentArguments) -> Incidents:
    """Incidents with what came of their messages."""
    return await plane.alerts.shown_incidents(arguments)


ROWS: Final = (
    Operation(
        "list_alerts",
        "GET",
        "/alerts",
        "alerts",
        "List the alert rules",
        NoArguments,
        AlertRules,
        list_alerts,
    ),
    Operation(
        "create_alert",
        "POST",
        "/alerts",
        "alerts",
        "Create an alert rule",
        CreateAlertArguments,
        AlertRule,
        create_alert,
        is_change=True,
    ),
    Operation(
        "change_alert",
        "PATCH",
        "/alerts/{alert_id}",
        "alerts",
        "Change an alert rule",
        ChangeAlertArguments,
        AlertRule,
        change_alert,
        is_change=True,
    ),
    Operation(
        "delete_alert",
        "DELETE",
        "/alerts/{alert_id}",
        "alerts",
        "Delete an alert rule",
        AlertArguments,
        Done,
        delete_alert,
        is_change=True,
    ),
    Operation(
        "test_alert",
        "POST",
        "/alerts/{alert_id}/test",
        "alerts",
        "Send a test message to each target of an alert rule",
        AlertArguments,
        TestedTargets,
        test_alert,
        is_change=True,
    ),
    Operation(
        "list_incidents",
        "GET",
        "/incidents",
        "alerts",
        "List incidents, newest first, and what came of their messages",
        IncidentArguments,
        Incidents,
        list_incidents,
    ),
)

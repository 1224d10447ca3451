"""Alerts: the rules, who is told by them, what they found, and a test of whether the telling works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route

from broker.console.pages.base import Failure, address, go, view
from broker.console.rendering import form_pairs, page_call
from broker.operations.alerts import EVERY_GROUP, AlertKind, AlertRule, AlertRules, TargetKind
from broker.operations.operation import OperationError, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

KINDS: Final[tuple[str, ...]] = get_args(AlertKind)
TARGET_KINDS: Final[tuple[str, ...]] = get_args(TargetKind)
CHANNELS_SHOWN: Final = 100
INCIDENTS_SHOWN: Final = 50


class Target(Struct, frozen=True):
    """A line of the form."""

    kind: str
    address: str


class RuleForm(Struct, frozen=True):
    """What the form shows: what was put in, or the rule as it is."""

    name: str
    kind: str
    threshold_s: str
    channel_id: str
    group_id: str
    targets: tuple[Target, ...]
    enabled: bool

    @classmethod
    def of(cls, rule: AlertRule) -> RuleForm:
        targets = tuple(Target(target.kind, target.address) for target in rule.targets)
        return cls(
            rule.name,
            rule.kind,
            str(rule.threshold_s),
            rule.channel_id or "",
            rule.group_id or "",
            targets,
            rule.enabled,
        )

    @classmethod
    def put_in(cls, pairs: list[tuple[str, str]]) -> RuleForm:
        fields = dict(pairs)
        kinds = [value for name, value in pairs if name == "target_kind"]
        addresses = [value.strip() for name, value in pairs if name == "target_address"]
        return cls(
            fields.get("name", ""),
            fields.get("kind", "delay"),
            fields.get("threshold_s", "").strip(),
            fields.get("channel_id", ""),
            fields.get("group_id", ""),
            tuple(Target(*target) for target in zip(kinds, addresses, strict=False) if target[1]),
            "enabled" in fields,
        )

    def arguments(self) -> dict[str, Any]:
        """Those of `create_alert` and `change_alert`; an empty threshold is the usual one, or stays."""
        given: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "channel_id": self.channel_id or None,
            "group_id": (self.group_id or None) if self.kind == "delay" else None,
            "targets": [{"kind": target.kind, "address": target.address} for target in self.targets],
            "enabled": self.enabled,
        }
        return given | ({"threshold_s": self.threshold_s} if self.threshold_s else {})


NEW_RULE: Final = RuleForm("", "delay", "", "", "", (), True)


async def alerts(request: Request) -> Response:
    """Rules and incidents."""
    rules: AlertRules = await page_call(request, "list_alerts")
    incidents = await page_call(request, "list_incidents", {"limit": INCIDENTS_SHOWN})
    return view(
        request,
        "alerts.html",
        parts={"rules": "alerts_rules.html", "incidents": "alerts_incidents.html"},
        rules=rules.rules,
        found=incidents,
        names=_names(await _channels(request)),
    )


async def new_alert(request: Request) -> Response:
    """The form of a new rule, and what it sends."""
    if request.method == "GET":
        return await _form(request, None, NEW_RULE)
    form = RuleForm.put_in(await form_pairs(request))
    try:
        await page_call(request, "create_alert", form.arguments())
    except OperationError as error:
        return await _form(request, None, form, Failure.of(error))
    return go(request, address("alerts", said="alert_created"))


async def edit_alert(request: Request) -> Response:
    """The form of a rule that there is, and what it sends."""
    rule = await _rule(request)
    if request.method == "GET":
        return await _form(request, rule, RuleForm.of(rule))
    form = RuleForm.put_in(await form_pairs(request))
    try:
        await page_call(request, "change_alert", {"alert_id": rule.id, **form.arguments()})
    except OperationError as error:
        return await _form(request, rule, form, Failure.of(error))
    return go(request, address("alerts", said="alert_changed"))


async def switch_alert(request: Request) -> Response:
    """Turn a rule on or off."""
    rule = await _rule(request)
    await page_call(request, "change_alert", {"alert_id": rule.id, "enabled": not rule.enabled})
    return go(request, address("alerts", said="alert_changed"))


async def delete_alert(request: Request) -> Response:
    """Ask whether a rule is to go, and have it go."""
    rule = await _rule(request)
    if request.method == "GET":
        return view(request, "alert_delete.html", rule=rule)
    await page_call(request, "delete_alert", {"alert_id": rule.id})
    return go(request, address("alerts", said="alert_deleted"))


async def test_alert(request: Request) -> Response:
    """Say who would be told, tell them, and show what came of it."""
    rule = await _rule(request)
    deliveries, failure = None, None
    if request.method == "POST":
        try:
            deliveries = (await page_call(request, "test_alert", {"alert_id": rule.id})).deliveries
        except OperationError as error:
            failure = Failure.of(error)
    return view(request, "alert_test.html", rule=rule, deliveries=deliveries, failure=failure)


async def _form(request: Request, rule: AlertRule | None, form: RuleForm, failure: Failure | None = None) -> Response:
    known: AlertRules = await page_call(request, "list_alerts")
    return view(
        request,
        "alert_form.html",
        200 if failure is None else failure.status,
        rule=rule,
        form=form,
        failure=failure,
        channels=await _channels(request),
        commands=known.commands,
        is_mail_set_up=known.is_mail_set_up,
        kinds=KINDS,
        target_kinds=TARGET_KINDS,
        every_group=EVERY_GROUP,
        targets=form.targets or (Target("webhook", ""),),
    )


async def _rule(request: Request) -> AlertRule:
    """The rule that the address names. Raises OperationError."""
    alert_id = request.path_params["alert_id"]
    known: AlertRules = await page_call(request, "list_alerts")
    for rule in known.rules:
        if rule.id == alert_id:
            return rule
    raise OperationError(Refusal.NOT_FOUND, f"there is no alert rule {alert_id!r}", field="alert_id")


async def _channels(request: Request) -> tuple[Any, ...]:
    """Those that a rule may be of."""
    found = await page_call(request, "list_channels", {"page_size": CHANNELS_SHOWN})
    return tuple(found.channels)


def _names(channels: tuple[Any, ...]) -> dict[str, str]:
    """The names of channels and groups by their ids."""
    groups = {group.id: group.name for channel in channels for group in channel.groups}
    return {channel.id: channel.name for channel in channels} | groups


_BOTH: Final = ["GET", "POST"]
ROUTES: Final = (
    Route("/alerts", alerts),
    Route("/alerts/new", new_alert, methods=_BOTH),
    Route("/alerts/{alert_id}", edit_alert, methods=_BOTH),
    Route("/alerts/{alert_id}/switch", switch_alert, methods=["POST"]),
    Route("/alerts/{alert_id}/delete", delete_alert, methods=_BOTH),
    Route("/alerts/{alert_id}/test", test_alert, methods=_BOTH),
)

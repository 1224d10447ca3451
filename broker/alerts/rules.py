"""A rule: made of the file's, held to what is allowed and to what there is, and how it is shown.

Left to others: which rules there are (`watch.py`), the values of their keys (`alert_rules.py`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from broker import alert_rules
from broker.alerts import judging
from broker.operations.alerts import AlertRule, AlertTarget
from broker.operations.operation import OperationError, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.alerts.delivery import Ways
    from broker.config import AlertConfig
    from broker.control import ChannelView

FILE: Final = "file"
OPERATION: Final = "operation"


def rule_of_file(alert: AlertConfig) -> AlertRule:
    """A rule of the file; its id follows from its name, so that its incidents go on over a restart."""
    addresses = [
        *(("webhook", url.reveal()) for url in alert.webhooks),
        *(("email", address) for address in alert.emails),
        *(("command", name) for name in alert.commands),
    ]
    return AlertRule(
        id=f"file_{hashlib.sha256(alert.name.encode()).hexdigest()[:12]}",
        name=alert.name,
        channel_id=alert.channel,
        group_id=alert.group,
        kind=alert.kind,
        threshold_s=alert_rules.threshold_s(alert.kind, alert.threshold),
        targets=tuple(AlertTarget(kind, address) for kind, address in addresses),  # type: ignore[arg-type]
        enabled=alert.enabled,
        defined_by=FILE,
    )


def shown(rule: AlertRule, *, is_firing: bool) -> AlertRule:
    """Without what the addresses of its webhooks hide."""
    targets = tuple(
        AlertTarget(target.kind, alert_rules.shown_address(target.kind, target.address)) for target in rule.targets
    )
    return replace(rule, targets=targets, is_firing=is_firing)


def check(rule: AlertRule, views: Sequence[ChannelView], ways: Ways) -> None:
    """Hold a rule made by an operation to the rules, and to what there is. Raises ConfigError or OperationError."""
    alert_rules.check_scope("group_id", rule.kind, rule.channel_id, rule.group_id)
    alert_rules.check_threshold("threshold_s", rule.kind, rule.threshold_s)
    for index, target in enumerate(rule.targets):
        _check_target(f"targets[{index}].address", target, ways)
    if rule.channel_id is not None and all(view.id != rule.channel_id for view in views):
        raise OperationError(Refusal.NOT_FOUND, f"there is no channel {rule.channel_id!r}", field="channel_id")
    if rule.group_id not in (None, alert_rules.EVERY_GROUP) and not any(judging.subjects(rule, views)):
        raise OperationError(Refusal.NOT_FOUND, f"{rule.channel_id} has no group {rule.group_id!r}", field="group_id")


def _check_target(path: str, target: AlertTarget, ways: Ways) -> None:
    if target.kind == "webhook":
        if target.address.endswith("/…"):
            raise OperationError(
                Refusal.INVALID, "this address is shortened for showing; give the whole one", field=path
            )
        alert_rules.check_webhook(path, target.address)
    elif target.kind == "command":
        alert_rules.check_command(path, target.address, ways.commands)
    else:
        alert_rules.check_email(path, target.address)
        if ways.mail is None:
            sentence = "mail cannot be sent: the configuration file has no [mail]"
            raise OperationError(Refusal.INVALID, sentence, field=path)


def with_hidden(given: Sequence[AlertTarget], before: Sequence[AlertTarget]) -> tuple[AlertTarget, ...]:
    """Targets as they were given, with the whole addresses of those that were given as they had been shown."""
    left = list(before)
    whole = []
    for target in given:
        known = next((each for each in left if _is_shown_as(each, target)), None)
        if known is not None:
            left.remove(known)
        whole.append(target if known is None else known)
    return tuple(whole)


def _is_shown_as(target: AlertTarget, given: AlertTarget) -> bool:
    shown = alert_rules.shown_address(target.kind, target.address)
    return target.kind == given.kind and given.address in (target.address, shown)

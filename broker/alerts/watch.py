"""The rules in force, and the incidents they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.operations.alerts import (
        AlertRule,
        AlertRules,
        ChangeAlertArguments,
        CreateAlertArguments,
        IncidentArguments,
        Incidents,
        TestedTargets,
    )
    from broker.operations.operation import Done


class Alerts:
    """What operations may ask of the watch."""

    def shown_rules(self) -> AlertRules:
        raise NotImplementedError

    async def create(self, arguments: CreateAlertArguments) -> AlertRule:
        raise NotImplementedError

    async def change(self, arguments: ChangeAlertArguments) -> AlertRule:
        raise NotImplementedError

    async def delete(self, alert_id: str) -> Done:
        raise NotImplementedError

    async def test(self, alert_id: str) -> TestedTargets:
        raise NotImplementedError

    def shown_incidents(self, arguments: IncidentArguments) -> Incidents:
        raise NotImplementedError

"""What watches a running server: monitoring, alerts, the loop's delay, and what metrics and health are made from.

Made where there is a console, where the file or the catalog has an alert rule, or when the first operation is asked
for; a server without any of them has none of its timers.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from broker.alerts.watch import Alerts
from broker.apis import APIS
from broker.health import Health
from broker.loop_delay import LoopDelay
from broker.monitoring import Monitoring

if TYPE_CHECKING:
    from broker.channels import Channels
    from broker.config import Config
    from broker.metrics import Metrics
    from broker.server import BrokerServer
    from storage.catalog import Catalog
    from storage.clock import Clock
    from storage.scheduler import Scheduler


class Watching:
    """The parts; `start`, then `close`, once each."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        channels: Channels,
        server: BrokerServer,
        clock: Clock,
        scheduler: Scheduler,
    ) -> None:
        self._channels = channels
        self._server = server
        self._metrics: Metrics | None = None
        self.loop_delay = LoopDelay()
        self.monitoring = Monitoring(channels, clock, scheduler)
        self.alerts = Alerts(config, catalog, channels, self.monitoring, clock, scheduler)
        self.health = Health(catalog, config.data_path, channels, lambda: server.is_serving, clock)

    def start(self) -> None:
        self.loop_delay.start()
        self.alerts.start()
        self.monitoring.start()

    async def close(self) -> None:
        self.loop_delay.stop()
        await self.monitoring.close()
        await self.alerts.close()

    async def metrics(self) -> bytes:
        """The text of `/metrics`."""
        await asyncio.to_thread(importlib.import_module, "broker.metrics")  # where nobody scrapes nothing needs it
        from broker.metrics import Metrics, Served

        if self._metrics is None:
            server = self._server
            served = Served(lambda: server.connection_count, self._requests, lambda: server.sent_bytes)
            self._metrics = Metrics(self._channels, self.monitoring, self.alerts, self.loop_delay, served)
        return await self._metrics.text()

    def _requests(self) -> dict[str, int]:
        counts = self._server.requests
        return {api.name: counts.get(key, 0) for key, api in APIS.items() if not api.refuses or counts.get(key)}

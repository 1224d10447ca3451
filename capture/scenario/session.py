"""What a scenario's statements share: the time, the default database, variables, the last number that was given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from capture.scenario.refusal import StatementRefused

if TYPE_CHECKING:
    from storage.clock import Clock

STRICT_MODES: Final = frozenset(
    {
        *("ONLY_FULL_GROUP_BY", "STRICT_TRANS_TABLES", "NO_ZERO_IN_DATE", "NO_ZERO_DATE", "ERROR_FOR_DIVISION_BY_ZERO"),
        "NO_ENGINE_SUBSTITUTION",
    }
)
"""sql_mode of a server nobody configured, since MySQL 5.7.8."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Session:
    """One session; `begin_statement` gives each statement its time."""

    def __init__(self, clock: Clock, database: str, collation: str) -> None:
        self._clock = clock
        self.database = database
        self.collation = collation
        """Of texts that no column is concerned with."""
        self.modes = STRICT_MODES
        self.zone: tzinfo = UTC
        self.zone_name = "+00:00"
        self.time_us: int | None = None
        """What SET timestamp said, Unix microseconds."""
        self.variables: dict[str, Any] = {}
        self.last_insert_id = 0
        self.autocommits = True
        self.checks_foreign_keys = True
        self._now_us = 0

    def system(self, name: str) -> Any:
        """A variable of the server, as far as it is kept and given back. Raises StatementRefused."""
        known = {
            "sql_mode": ",".join(sorted(self.modes)),
            "time_zone": self.zone_name,
            "autocommit": int(self.autocommits),
            "foreign_key_checks": int(self.checks_foreign_keys),
            "timestamp": Decimal(self._now_us) / 1_000_000,
            "last_insert_id": self.last_insert_id,
            "collation_connection": self.collation,
            **dict.fromkeys(("unique_checks", "sql_notes", "sql_log_bin"), 1),
            **dict.fromkeys(("character_set_client", "character_set_results", "character_set_connection"), "utf8mb4"),
        }
        if name not in known:
            raise StatementRefused(f"the server's variable @@{name} is not known here; write its value")
        return known[name]

    def begin_statement(self) -> None:
        """Have NOW() be now."""
        self._now_us = self._clock.now_ms() * 1000 if self.time_us is None else self.time_us

    @property
    def timestamp_s(self) -> int:
        """When the statement began."""
        return self._now_us // 1_000_000

    def now(self, fsp: int = 0) -> datetime:
        """When the statement began, in the session's time zone."""
        unit = int(10 ** (6 - fsp))
        return self.local(_EPOCH + timedelta(microseconds=self._now_us // unit * unit))

    def local(self, moment: datetime) -> datetime:
        """A moment in the session's time zone, without saying so."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def in_utc(self, local: datetime) -> datetime:
        """The moment that a time of the session's time zone means."""
        return local.replace(tzinfo=self.zone).astimezone(UTC)

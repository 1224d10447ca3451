"""What is said of a client in the end: the judgement, the lines for people, the JSON document.

A client that printed no record is judged by what it fetched and committed, which says less: what it did with the
records, and with those that it fetched again, nobody knows. Everything else is judged by its lines.

    {"command", "log": {"records", "rows", "rows_per_transaction", "rows_per_second": n | null,
             "rows_per_second_reached": n | null},
     "judged_by": "lines" | "fetches and commits",
     "seen", "missing", "doubled", "reordered", "wrong", "other_lines": {"number", "examples"} each but the first,
     "fetched_from", "fetched", "fetched_again", "committed", "seconds", "records_per_second",
     "records_per_second_from_first", "lag_ms": {"p50", "p90", "p99", "max"} | null,
     "cpu_seconds", "status": n | null, "faults": [sentence]}
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.client_check.known_log import RECORDS_OF_CREATION, KnownLog
from bench.client_check.witness import Count, Witness, lags_ms
from bench.harness import percentile

_NS_PER_S: Final = 1_000_000_000
_US_PER_S: Final = 1_000_000
_NEARLY: Final = 0.95
_PERCENTILES: Final = (50, 90, 99)


@dataclass(slots=True)
class Seen:
    """What was seen of a client from outside."""

    started_ns: int
    progressed_ns: int
    """When it last fetched or committed anything new."""
    cpu_s: float
    status: int | None
    """None if it was ended because there was nothing more to wait for."""
    out_of_time_s: float | None
    first: int
    """The lowest offset it fetched from; `fetched` is the highest."""
    fetched: int
    fetched_again: int
    committed: int
    visible: Sequence[tuple[int, int]] = ()


@dataclass(slots=True)
class Verdict:
    """The judgement; `faults` are sentences, none where everything came once and in order."""

    command: Sequence[str]
    log: KnownLog
    rate: float
    witness: Witness
    seen: Seen
    missing: Count = field(init=False)
    faults: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.missing = self.witness.missing() if self.by_lines else Count()
        self.faults = list(self._faults())

    @property
    def by_lines(self) -> bool:
        return self.witness.records > 0 or self.witness.wrong.number > 0

    def _faults(self) -> Iterator[str]:
        witness, seen = self.witness, self.seen
        if self.by_lines:
            counts = {
                "missing": self.missing,
                "doubled": witness.doubled,
                "reordered": witness.reordered,
                "not of this log": witness.wrong,
            }
            yield from (f"records {what}: {count}" for what, count in counts.items() if count.number)
        elif seen.first > 0:
            yield f"it fetched from offset {seen.first:,} on, and nothing before"
        elif seen.committed >= 0:
            if seen.committed != self.log.end:
                yield f"it committed offset {seen.committed:,} of a log that ends at {self.log.end:,}"
        elif seen.fetched < self.log.end:
            yield (
                f"it fetched up to offset {seen.fetched:,} of a log that ends at {self.log.end:,}"
                if seen.fetched >= 0
                else "it fetched nothing"
            )
        if seen.status:
            yield f"the command {_end(seen.status)}"
        if seen.out_of_time_s is not None:
            yield f"the time limit of {seen.out_of_time_s:g} s was over"

    # --- figures ----

    @property
    def records(self) -> int:
        if self.by_lines:
            return self.witness.records
        return max(0, min(self.log.end, max(self.seen.committed, self.seen.fetched)))

    @property
    def seconds(self) -> float:
        """From the start of the command to its last record, as far as that is known."""
        last = self.witness.last_ns or self.seen.progressed_ns
        return max(last - self.seen.started_ns, 1) / _NS_PER_S

    @property
    def seconds_from_first(self) -> float | None:
        witness = self.witness
        return (witness.last_ns - witness.first_ns) / _NS_PER_S if witness.last_ns > witness.first_ns else None

    @property
    def reached_rate(self) -> float | None:
        """Rows a second that became visible, where it was to be so many; a busy machine does not reach it."""
        live = [at_ns for end, at_ns in self.seen.visible if end > RECORDS_OF_CREATION]
        if not self.rate or len(live) < 2 or self.seen.visible[-1][0] < self.log.end:
            return None
        return (self.log.rows - self.log.rows_per_transaction) / max((live[-1] - live[0]) / _NS_PER_S, 1e-9)

    def lag_ms(self) -> dict[str, float] | None:
        """Of records that became visible while the client ran."""
        if not self.rate or not self.by_lines:
            return None
        lags = lags_ms(self.witness.arrived_ns, self.seen.visible, RECORDS_OF_CREATION)
        if not lags:
            return None
        return {**{f"p{each}": percentile(lags, each) for each in _PERCENTILES}, "max": max(lags)}

    # --- words ----

    def lines(self) -> Iterator[str]:
        """For people."""
        log, witness, seen = self.log, self.witness, self.seen
        way = f"{self.rate:,.12g} rows a second, live" if self.rate else "all there before the client started"
        reached = self.reached_rate
        if reached is not None and reached < self.rate * _NEARLY:
            way += f" (only {reached:,.0f} were reached: this machine is too busy)"
        yield (
            f"the log      {log.end:,} records: {log.rows:,} rows, {log.rows_per_transaction:,} in a transaction; {way}"
        )
        if self.by_lines:
            yield (
                f"the client   reported {witness.records:,} records: {self.missing} missing, "
                f"{witness.doubled} doubled, {witness.reordered} reordered, {witness.wrong} not of this log"
            )
        else:
            yield (
                "the client   printed no record, and is judged by what it fetched and committed: what it did with the "
                "records is not known"
            )
        committed = f"committed offset {seen.committed:,}" if seen.committed >= 0 else "committed nothing"
        fetched = (
            f"its fetches asked from offset {seen.first:,} up to {seen.fetched:,} and went back "
            f"{'once' if seen.fetched_again == 1 else f'{seen.fetched_again:,} times'}"
            if seen.fetched >= 0
            else "it fetched nothing"
        )
        yield f"the server   {fetched}; it {committed}"
        if witness.other.number:
            yield f"not counted  {witness.other} lines that name no record"
        yield from self._figures()
        yield f"verdict      {'; '.join(self.faults) if self.faults else self._all_well()}"

    def _all_well(self) -> str:
        if self.by_lines:
            return "every record once and in order"
        return "everything was committed" if self.seen.committed >= 0 else "everything was fetched"

    def _figures(self) -> Iterator[str]:
        from_first = self.seconds_from_first
        later = f", {self.records / from_first:,.0f} from the first record on" if from_first else ""
        if self.records:
            yield f"throughput   {self.records / self.seconds:,.0f} records/s from the start of the command{later}"
        if lag := self.lag_ms():
            yield "lag          " + ", ".join(f"{name} {_ms(value)}" for name, value in lag.items())
        each = f", {self.seen.cpu_s * _US_PER_S / self.records:,.1f} µs a record" if self.records else ""
        yield f"CPU          {self.seen.cpu_s:,.2f} s of the command{each}"

    def to_json(self) -> dict[str, Any]:
        witness, seen, from_first = self.witness, self.seen, self.seconds_from_first
        counts: Mapping[str, Count] = {
            "missing": self.missing,
            "doubled": witness.doubled,
            "reordered": witness.reordered,
            "wrong": witness.wrong,
            "other_lines": witness.other,
        }
        return {
            "command": list(self.command),
            "log": {
                "records": self.log.end,
                "rows": self.log.rows,
                "rows_per_transaction": self.log.rows_per_transaction,
                "rows_per_second": self.rate or None,
                "rows_per_second_reached": self.reached_rate,
            },
            "judged_by": "lines" if self.by_lines else "fetches and commits",
            "seen": self.records,
            **{name: {"number": count.number, "examples": count.examples} for name, count in counts.items()},
            "fetched_from": seen.first,
            "fetched": seen.fetched,
            "fetched_again": seen.fetched_again,
            "committed": seen.committed,
            "seconds": self.seconds,
            "records_per_second": self.records / self.seconds,
            "records_per_second_from_first": self.records / from_first if from_first else None,
            "lag_ms": self.lag_ms(),
            "cpu_seconds": seen.cpu_s,
            "status": seen.status,
            "faults": self.faults,
        }


def _end(status: int) -> str:
    """How a command ended that did not end well."""
    if status > 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _ms(value: float) -> str:
    """Three digits of what is short, whole milliseconds of what is not."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"

"""How a benchmark is declared, run and reported.

A benchmark is one question. It prepares its material once; then Binwire and its peers, where there are some, answer in
turns (the order swaps every round), so that whatever the machine is doing meanwhile meets all. Every run returns a hash
of what it produced; runs of one side must agree, and sides that share a result must agree with each other too: a fast
wrong answer is not a measurement. There are no deadlines here; who compares, compares medians of the same run.

JSON form, one object per measure and peer that answers it, one for a measure that no peer answers:

    {"benchmark", "measure", "unit", "binwire": {"min", "median", "max"},
     "peer": {"name", "min", "median", "max"} | null, "peer_missing": reason | null, "ratio": float | null,
     "rounds", "parameters", "hash", "machine": {…}, "versions": {…}, "commit"}

``ratio`` says how many times better Binwire's median is than the peer's, whichever direction is better for the measure.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Parameters = Mapping[str, Any]

ROUNDS_FULL: Final = 5
ROUNDS_SMOKE: Final = 2


class ResultMismatchError(Exception):
    """Two runs that should have produced the same did not; the message names the benchmark and both hashes."""


class PeerMissingError(Exception):
    """The peer cannot be had here; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number a run yields, its unit, and which direction is better."""

    name: str
    unit: str
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave: a number per measure name, and the hash of what it produced."""

    values: Mapping[str, float]
    result_hash: str


@dataclass(frozen=True, slots=True)
class Side:
    """Who answers: a name to print and the run itself."""

    name: str
    run: Callable[[], Outcome]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The sides on the same material. ``same_result``: all must produce the same hash.

    A peer that may be missing here is looked for when it is wanted, by a function that raises PeerMissingError.
    """

    binwire: Side
    peer: Side | Callable[[], Side] | None = None
    same_result: bool = True
    other_peers: tuple[Side, ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the registry. ``prepare(parameters, folder)`` is entered once per benchmark, around all its rounds."""

    name: str
    question: str
    measures: tuple[Measure, ...]
    smoke: Parameters
    full: Parameters
    prepare: Callable[[Parameters, Path], AbstractContextManager[Prepared]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of a measure's values over the rounds."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))

    def to_json(self) -> dict[str, float]:
        return {"min": self.min, "median": self.median, "max": self.max}


@dataclass(frozen=True, slots=True)
class Result:
    """One measure of one benchmark, beside one peer or none."""

    benchmark: str
    measure: Measure
    binwire: Spread
    peer_name: str | None
    peer: Spread | None
    rounds: int
    parameters: Parameters
    result_hash: str
    peer_missing: str | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better Binwire's median is; None without a peer or where a median is zero."""
        if self.peer is None or not self.peer.median or not self.binwire.median:
            return None
        quotient = self.binwire.median / self.peer.median
        return quotient if self.measure.higher_is_better else 1 / quotient

    def to_json(self, environment: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "measure": self.measure.name,
            "unit": self.measure.unit,
            "binwire": self.binwire.to_json(),
            "peer": None if self.peer is None else {"name": self.peer_name, **self.peer.to_json()},
            "peer_missing": self.peer_missing,
            "ratio": self.ratio,
            "rounds": self.rounds,
            "parameters": dict(self.parameters),
            "hash": self.result_hash,
            **environment,
        }


@dataclass(slots=True)
class _Track:
    """The outcomes of one side so far."""

    side: Side
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> None:
        self.outcomes.append(self.side.run())

    @property
    def result_hash(self) -> str:
        return self.outcomes[0].result_hash

    def spread(self, measure: Measure) -> Spread | None:
        """None for what this side has no answer to."""
        values = [outcome.values[measure.name] for outcome in self.outcomes if measure.name in outcome.values]
        return Spread.of(values) if values else None


def run_benchmark(
    benchmark: Benchmark,
    folder: Path,
    *,
    smoke: bool,
    rounds: int | None = None,
    with_peer: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Answer one question; ``folder`` is an empty directory for its material. Raises ResultMismatchError."""
    parameters = benchmark.smoke if smoke else benchmark.full
    rounds = rounds or (ROUNDS_SMOKE if smoke else ROUNDS_FULL)
    progress(f"{benchmark.name}: preparing")
    with benchmark.prepare(parameters, folder) as prepared:
        ours = _Track(prepared.binwire)
        peers, missing = _peers(prepared) if with_peer else ([], None)
        turn = [ours, *peers]
        for round_number in range(rounds):
            progress(f"{benchmark.name}: round {round_number + 1} of {rounds}")
            for track in turn if round_number % 2 == 0 else reversed(turn):
                track.run()
    _require_agreement(benchmark, ours, peers if prepared.same_result else [])
    results = []
    for measure in benchmark.measures:
        answering: list[_Track | None] = [track for track in peers if track.spread(measure) is not None]
        beside = answering or [None]
        results += [_result(benchmark, measure, ours, theirs, rounds, parameters, missing) for theirs in beside]
    return results


def _peers(prepared: Prepared) -> tuple[list[_Track], str | None]:
    """The peers that can be had, and why one is missing; neither where a benchmark has none."""
    others = [_Track(side) for side in prepared.other_peers]
    try:
        side = prepared.peer if isinstance(prepared.peer, Side | None) else prepared.peer()
    except PeerMissingError as error:
        return others, str(error)
    return (others if side is None else [_Track(side), *others]), None


def _result(
    benchmark: Benchmark,
    measure: Measure,
    ours: _Track,
    theirs: _Track | None,
    rounds: int,
    parameters: Parameters,
    missing: str | None,
) -> Result:
    binwire = ours.spread(measure)
    assert binwire is not None, f"benchmark {benchmark.name} does not answer {measure.name}"
    peer = theirs.spread(measure) if theirs else None
    name = theirs.side.name if theirs else None
    missing = None if theirs else missing
    return Result(benchmark.name, measure, binwire, name, peer, rounds, parameters, ours.result_hash, missing)


def _require_agreement(benchmark: Benchmark, ours: _Track, peers: Sequence[_Track]) -> None:
    for track in [ours, *peers]:
        for outcome in track.outcomes:
            if outcome.result_hash != ours.result_hash:
                raise ResultMismatchError(
                    f"benchmark {benchmark.name}: {track.side.name} produced {outcome.result_hash[:16]} "
                    f"where {ours.side.name} produced {ours.result_hash[:16]}; the figures mean nothing"
                )


class ResultHash:
    """Hashes a sequence of byte strings, each with its length, so that no two sequences look alike."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, item: bytes | memoryview) -> None:
        self._digest.update(len(item).to_bytes(8, "big"))
        self._digest.update(item)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of them do not exceed (nearest rank); in any order, not empty."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]

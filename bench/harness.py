"""How a benchmark is declared, run and reported.

A benchmark is one question. It prepares its material once; then Binwire and its peers, where there are some, answer in
turns (the order swaps every round), so that whatever the machine is doing meanwhile meets all. Every run returns a hash
of what it produced; runs of one side must agree, and sides that share a result must agree with each other too: a fast
wrong answer is not a measurement. There are no deadlines here; who compares, compares medians of the same run.

A side answers those of the benchmark's measures that it can; one that nobody answers is left out. A peer that takes
minutes may run fewer rounds than Binwire, and its result says how many.

JSON form, one object per measure:

    {"benchmark", "measure", "unit", "higher_is_better", "binwire": {"min", "median", "max", "rounds"} | null,
     "peers": [{"name", "min", "median", "max", "rounds", "ratio": float | null}], "missing": [reason],
     "parameters", "hash"}

``ratio`` says how many times better Binwire's median is than the peer's, whichever direction is better for the measure.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

Parameters = Mapping[str, Any]

ROUNDS_FULL: Final = 5
ROUNDS_SMOKE: Final = 2


class ResultMismatchError(Exception):
    """Two runs that should have produced the same did not; the message names the benchmark and both hashes."""


class PeerMissingError(Exception):
    """The peer cannot be had here; one sentence says why."""


class UnavailableError(Exception):
    """What the benchmark itself measures with cannot be had here; one sentence says why. Others can be run."""


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
    """Who answers: a name to print and the run itself.

    ``same_result``: its hash must be ours. ``rounds``: it takes part in so many of the first rounds; None for all.
    """

    name: str
    run: Callable[[], Outcome]
    same_result: bool = True
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class SoughtPeer:
    """A peer that may be missing here: looked for when it is wanted. ``find`` raises PeerMissingError."""

    name: str
    find: Callable[[], Side]


Peer: TypeAlias = Side | SoughtPeer


class Prepared:
    """The sides on the same material. ``same_result=False``: no peer's hash is compared with ours.

    ``missing``: why some of the measures, which need a client that cannot be had here, have no answer from anybody.
    ``versions``: what takes part on every side and is none of ours, such as the database; told with the parameters.
    """

    def __init__(
        self,
        binwire: Side,
        *peers: Peer | None,
        same_result: bool = True,
        missing: Sequence[str] = (),
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.binwire = binwire
        self.peers = tuple(peer for peer in peers if peer is not None)
        self.same_result = same_result
        self.missing = tuple(missing)
        self.versions = versions or {}


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
class Figure:
    """What one side answers to a measure, and in how many rounds."""

    name: str
    spread: Spread
    rounds: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.spread.to_json(), "rounds": self.rounds}


@dataclass(frozen=True, slots=True)
class Result:
    """One measure of one benchmark: Binwire's figure, those of the peers that answer it, and why others are missing."""

    benchmark: str
    measure: Measure
    binwire: Figure | None
    peers: tuple[Figure, ...]
    missing: tuple[str, ...]
    parameters: Parameters
    result_hash: str

    def ratio(self, peer: Figure) -> float | None:
        """How many times better Binwire's median is; None where one is zero or not there."""
        if self.binwire is None or not peer.spread.median or not self.binwire.spread.median:
            return None
        quotient = self.binwire.spread.median / peer.spread.median
        return quotient if self.measure.higher_is_better else 1 / quotient

    def to_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "measure": self.measure.name,
            "unit": self.measure.unit,
            "higher_is_better": self.measure.higher_is_better,
            "binwire": None if self.binwire is None else self.binwire.to_json(),
            "peers": [{**peer.to_json(), "ratio": self.ratio(peer)} for peer in self.peers],
            "missing": list(self.missing),
            "parameters": dict(self.parameters),
            "hash": self.result_hash,
        }


@dataclass(slots=True)
class _Track:
    """The outcomes of one side so far, and whether they must be ours."""

    side: Side
    compared: bool = True
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self, round_number: int) -> None:
        if self.side.rounds is None or round_number < self.side.rounds:
            self.outcomes.append(self.side.run())

    @property
    def result_hash(self) -> str:
        return self.outcomes[0].result_hash

    def figure(self, measure: Measure) -> Figure | None:
        """None for what this side has no answer to."""
        values = [outcome.values[measure.name] for outcome in self.outcomes if measure.name in outcome.values]
        return Figure(self.side.name, Spread.of(values), len(values)) if values else None


def everyone(_name: str) -> bool:
    """Which peers are wanted: all."""
    return True


def nobody(_name: str) -> bool:
    """Which peers are wanted: none."""
    return False


def run_benchmark(
    benchmark: Benchmark,
    folder: Path,
    *,
    smoke: bool,
    rounds: int | None = None,
    wanted: Callable[[str], bool] = everyone,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Answer one question, with the peers whose name is wanted; ``folder`` is an empty directory for its material.

    Raises ResultMismatchError, and UnavailableError before anything was measured.
    """
    parameters = benchmark.smoke if smoke else benchmark.full
    rounds = rounds or (ROUNDS_SMOKE if smoke else ROUNDS_FULL)
    progress(f"{benchmark.name}: preparing")
    with benchmark.prepare(parameters, folder) as prepared:
        ours = _Track(prepared.binwire)
        peers, missing = _peers(prepared, wanted)
        turn = [ours, *peers]
        for round_number in range(rounds):
            for track in turn if round_number % 2 == 0 else reversed(turn):
                progress(f"{benchmark.name}: round {round_number + 1} of {rounds}, {track.side.name}")
                track.run(round_number)
    parameters = {**parameters, **prepared.versions}
    for track in turn:
        _require_agreement(benchmark, ours, track)
    results = []
    for measure in benchmark.measures:
        figures = tuple(figure for track in peers if (figure := track.figure(measure)) is not None)
        figure = ours.figure(measure)
        if figure or figures:
            results.append(Result(benchmark.name, measure, figure, figures, missing, parameters, ours.result_hash))
    return results


def _peers(prepared: Prepared, wanted: Callable[[str], bool]) -> tuple[list[_Track], tuple[str, ...]]:
    """The wanted peers that can be had, and why others, or clients, are missing."""
    found, missing = [], list(prepared.missing)
    for peer in prepared.peers:
        if not wanted(peer.name):
            continue
        try:
            side = peer if isinstance(peer, Side) else peer.find()
        except PeerMissingError as error:
            missing.append(str(error))
            continue
        found.append(_Track(side, prepared.same_result and side.same_result))
    return found, tuple(dict.fromkeys(missing))


def _require_agreement(benchmark: Benchmark, ours: _Track, track: _Track) -> None:
    """The runs of one side produced the same; and the same as ours, where they are compared."""
    reference = ours if track.compared else track
    for outcome in track.outcomes:
        if outcome.result_hash != reference.result_hash:
            raise ResultMismatchError(
                f"benchmark {benchmark.name}: {track.side.name} produced {outcome.result_hash[:16]} "
                f"where {reference.side.name} produced {reference.result_hash[:16]}; the figures mean nothing"
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

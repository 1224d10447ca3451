"""Results as people read them: the table in a terminal, and Markdown for a repository.

Owns words and number formats of both; figures come from results (`bench/harness.py`), what they were measured on from
the environment. Pictures are `bench/plots.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from bench.harness import Figure, Result

Row = tuple[str, str, str, str, str]

_HEADINGS: Final = ("benchmark", "measure", "binwire (min … max)", "peer (min … max)", "ratio")


def table(results: Sequence[Result]) -> str:
    """One line per measure and peer, columns aligned."""
    return aligned([_HEADINGS, *(row for result in results for row in _rows(result))])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, the first of them underlined."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def measured_on(context: Mapping[str, Any]) -> str:
    """Machine, versions and commit in one line."""
    machine, versions = context["machine"], context["versions"]
    tree = "" if context.get("clean", True) else " with changes"
    return (
        f"{machine['cpu']}, {machine['cpu_count']} CPUs, {machine['memory_gib']} GiB, {machine['system']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"commit {context['commit'] or 'unknown'}{tree}"
    )


def markdown(
    results: Sequence[Result], context: Mapping[str, Any], questions: Mapping[str, str], plots: Mapping[str, str]
) -> str:
    """A document: a section per benchmark, with its question, its picture (a file's name) and its table."""
    lines = [f"# Measured on {context['taken']}", "", measured_on(context), ""]
    lines += [f"- {name} is left out: {reason}" for name, reason in context["left_out"].items()]
    for name, group in groupby(results, key=lambda result: result.benchmark):
        of_benchmark = list(group)
        lines += ["", f"## {name}", "", questions.get(name, ""), ""]
        if name in plots:
            lines += [f"![{name}]({plots[name]})", ""]
        lines += _markdown_table(of_benchmark)
        parameters = ", ".join(f"{key} {value}" for key, value in of_benchmark[0].parameters.items())
        lines += ["", f"Parameters: {parameters or 'none'}."]
        lines += [f"No peer: {reason}." for reason in dict.fromkeys(of_benchmark[0].missing)]
    return "\n".join(lines) + "\n"


def _markdown_table(results: Sequence[Result]) -> Iterator[str]:
    yield "| measure | Binwire (min … max) | peer (min … max) | ratio |"
    yield "|---|---:|---:|---:|"
    for result in results:
        for _, measure, ours, theirs, ratio in _rows(result, with_missing=False):
            yield f"| {measure} | {ours} | {theirs} | {ratio} |"


def _rows(result: Result, *, with_missing: bool = True) -> Iterator[Row]:
    """One per peer that answers or is missing; one where there is none."""
    unit, head = result.measure.unit, (result.benchmark, result.measure.name)
    ours = span(result.binwire, unit) if result.binwire else "no answer"
    for peer in result.peers:
        ratio = result.ratio(peer)
        rounds = "" if result.binwire is None or peer.rounds == result.binwire.rounds else f", {peer.rounds} rounds"
        yield *head, ours, f"{peer.name}: {span(peer, unit)}{rounds}", "" if ratio is None else times(ratio)
    missing = result.missing if with_missing else ()
    for reason in missing:
        yield *head, ours, f"no peer: {reason}", ""
    if not result.peers and not missing:
        yield *head, ours, "no peer", ""


def span(figure: Figure, unit: str) -> str:
    """Median, and between which values the rounds were."""
    spread = figure.spread
    return f"{number(spread.median)} {unit} ({number(spread.min)} … {number(spread.max)})"


def times(ratio: float) -> str:
    """How many times better."""
    return f"{ratio:.2f} ×" if ratio < 2 else f"{ratio:.1f} ×"


def number(value: float) -> str:
    """Three digits at least."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

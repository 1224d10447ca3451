"""Plots: round scales, lines broken where nothing was known, peaks that stay, everything within the box."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.console.pages.monitoring import short_number
from broker.console.plot import COLUMNS, HEIGHT, STEPS, STYLES, WIDTH, make_plot, round_top, spans

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def corners(path: str) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in re.findall(r"[ML](\d+) (\d+)", path)]


@pytest.mark.parametrize(
    ("value", "top"),
    [
        (0.0, 4.0),
        (-1.0, 4.0),
        (5e-324, 4.0),
        (0.03, 0.04),
        (1.0, 1.0),
        (1.01, 2.0),
        (150.0, 200.0),
        (399, 400),
        (8_000, 8_000),
        (9e6, 1e7),
    ],
)
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert round_top(value) == pytest.approx(top)


def test_labels_stand_at_equal_steps_from_the_top_down_and_from_the_left() -> None:
    plot = make_plot([("", [(HOUR_MS, 3.0)])], 0, HOUR_MS, 5)
    assert plot.values == (4.0, 3.0, 2.0, 1.0, 0.0)
    assert plot.times_ms == (0, HOUR_MS // 4, HOUR_MS // 2, 3 * HOUR_MS // 4, HOUR_MS)
    assert len(plot.values) == len(plot.times_ms) == STEPS + 1


def test_a_line_is_broken_where_nothing_was_known_and_a_point_by_itself_is_a_dot() -> None:
    step_ms = 5_000
    points = [(step_ms * tick, 1.0) for tick in (10, 11, 12, 20, 30, 31)]
    (line,) = make_plot([("", points)], 0, 100 * step_ms, 5).lines
    assert line.path == "M100 0L110 0L120 0M200 0h0M300 0L310 0"
    assert (line.latest, line.least, line.mean, line.most) == (1.0, 1.0, 1.0, 1.0)


def test_a_peak_of_one_step_is_seen_among_a_day_of_them() -> None:
    points = [(minute * MINUTE_MS, 900.0 if minute == 700 else 1.0) for minute in range(1_440)]
    (line,) = make_plot([("", points)], 0, 24 * HOUR_MS, 60).lines
    drawn = corners(line.path)
    assert len(drawn) <= COLUMNS + 1
    assert min(y for _, y in drawn) == HEIGHT - round(900 / 1_000 * HEIGHT)


def test_what_is_not_known_at_all_is_said_so() -> None:
    plot = make_plot([("a", []), ("b", [])], 0, HOUR_MS, 5)
    assert plot.is_empty
    assert [line.path for line in plot.lines] == ["", ""]
    assert [line.most for line in plot.lines] == [None, None]


def test_each_group_that_a_channel_may_have_looks_different() -> None:
    plot = make_plot([(str(number), [(0, 1.0)]) for number in range(20)], 0, HOUR_MS, 5)
    assert len({line.style for line in plot.lines}) == 20 <= STYLES


@given(
    st.lists(st.tuples(st.integers(0, 2 * HOUR_MS), st.floats(0, 1e12)), max_size=60),
    st.integers(0, HOUR_MS),
    st.integers(1, HOUR_MS),
)
def test_whatever_is_drawn_lies_within_the_box(points: list[tuple[int, float]], from_ms: int, span_ms: int) -> None:
    (line,) = make_plot([("", sorted(points))], from_ms, from_ms + span_ms, 5).lines
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners(line.path))


def test_states_fill_the_time_shown_from_what_held_before_it_to_its_end() -> None:
    begun = [(-HOUR_MS, "Normal"), (HOUR_MS // 2, "Error"), (3 * HOUR_MS // 4, "Normal")]
    assert spans(begun, 0, HOUR_MS) == [(0, 500, "Normal"), (500, 250, "Error"), (750, 250, "Normal")]
    assert spans([], 0, HOUR_MS) == []


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "-"),
        (0.0, "s", "0"),
        (0.25, "s", "0.25"),
        (9_999.0, "messages", "9999"),
        (16_234.0, "messages", "16.2 k"),
        (2_000_000.0, "bytes/s", "2 MB"),
        (12.0, "bytes/s", "12 B"),
    ],
)
def test_numbers_are_short(value: float | None, unit: str, text: str) -> None:
    assert short_number(value, unit) == text

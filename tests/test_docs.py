"""The documents against the code and data they speak of."""

import os
import re
import subprocess
import sys

import pytest

from tests.tools import readme


def test_readme_sections_are_up_to_date() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert readme.render(text) == text


def test_a_stale_section_is_noticed() -> None:
    text = readme.README.read_text(encoding="utf-8")
    stale = text.replace("| record | | Binwire", "", 1).replace("<!-- fidelity -->\n", "<!-- fidelity -->\nold\n", 1)
    assert stale != text
    assert readme.render(stale) == readme.render(text)


def test_missing_marks_are_an_error() -> None:
    with pytest.raises(ValueError, match="needs the marks"):
        readme.render("# no marks here\n")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[[point]]\nname = "x"\n', "keys are"),
        ('[[point]]\nname="x"\narea="record"\nstatus="sure"\nbinwire=""\nevidence=""\n', "unknown status"),
        ('[[point]]\nname="x"\narea="record"\nstatus="faithful"\nbinwire=""\nevidence=""\n' * 2, "listed twice"),
    ],
)
def test_fidelity_data_is_checked(toml: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        readme.fidelity_points(toml)


VOLATILE = [
    (re.compile(r"\d\d:\d\d:\d\d(?=  [A-Z])"), "HH:MM:SS"),
    (re.compile(r"(?<=  offset )\d+"), "OFFSET"),  # heartbeats in between take offsets as time passes
    (re.compile(r"127\.0\.0\.1:\d+|(?<=dtsConnectPort  )\d+"), "PORT"),
    (re.compile(r"dts[0-9a-z]{15}"), "SID"),
    (re.compile(r"Demo-[0-9a-f]+"), "PASSWORD"),
    (re.compile(r"(?<=startTimeStamp  )\d+"), "SECONDS"),
    (re.compile(r"(?<=as kafka-python )[\d.]+"), "VERSION"),
    (re.compile(r"\S+(?= -c 'from kafka)"), "PYTHON"),
]


def without_what_changes(text: str) -> list[str]:
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text.strip().splitlines()


def test_the_transcript_is_what_the_demo_prints() -> None:
    """The README's transcript against a run of today, but for times, the port, credentials and the client's version."""
    text = readme.README.read_text(encoding="utf-8")
    shown = text.partition("$ make demo RECORDS=19\n")[2].partition("\n```")[0]
    run = subprocess.run(
        [sys.executable, "-m", "binwire", "demo", "--records", "19", "--speed", "100"],
        cwd=readme.CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert without_what_changes(shown) == without_what_changes(run.stdout)

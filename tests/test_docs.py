"""The documents against the code and data they speak of."""

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

"""Which tables are tracked: as the server compares names."""

from __future__ import annotations

import pytest

from capture.selection import Selection, SelectionError, parse_object


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("shop", ("shop", None)),
        ("shop.*", ("shop", None)),
        ("shop.orders", ("shop", "orders")),
        ("`odd.name`.`t``t`", ("odd.name", "t`t")),
        ("`a b`", ("a b", None)),
        ("商店.订单", ("商店", "订单")),
    ],
)
def test_what_an_object_names(text: str, parsed: tuple[str, str | None]) -> None:
    assert parse_object(text) == parsed


@pytest.mark.parametrize("text", ["", ".", "a.", ".b", "a.b.c", "`a", "``.b"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(SelectionError):
        parse_object(text)


def test_case_counts_unless_the_server_folds_it() -> None:
    exact, folding = Selection(["Shop", "crm.Customer"]), Selection(["Shop", "crm.Customer"], 1)
    assert exact("Shop", "anything")
    assert not exact("shop", "anything")
    assert exact("crm", "Customer")
    assert not exact("crm", "customer")
    assert not exact("crm", "other")
    assert folding("sHOP", "anything")
    assert folding("CRM", "customer")
    assert not folding("crm", "other")


def test_whether_anything_of_a_database_is_tracked() -> None:
    selection = Selection(["shop", "crm.customer"])
    assert selection("shop", "")
    assert selection("crm", "")
    assert not selection("mysql", "")


def test_same_names() -> None:
    assert Selection((), 2).same("A", "a")
    assert not Selection((), 0).same("A", "a")

"""The committed matrix has every cell of every client, and a run is held against it."""

from __future__ import annotations

from tests.interop import matrix_file
from tests.interop.client import COLUMNS
from tests.interop.client_matrix import CLIENTS
from tests.interop.matrix_file import NOT_APPLICABLE, PASSES, REFUSED, UNTESTED, UNTRIED

_CLIENT = next(c for c in CLIENTS if c.can("takeover") and c.can("tls") and not c.can("commit"))


def test_committed_matrix_has_every_cell_and_none_that_was_never_run() -> None:
    rows = matrix_file.read()
    assert [row["client"] for row in rows] == [client.name for client in CLIENTS]
    for row in rows:
        assert list(row["cells"]) == list(COLUMNS)
        for column, cell in row["cells"].items():
            assert cell == PASSES or cell.startswith((f"{PASSES}: ", NOT_APPLICABLE, REFUSED, UNTESTED))
            assert cell != UNTRIED, f"{row['client']}, {column} was never run: `make interop RENEW=1`"


def test_committed_matrix_says_what_the_clients_say() -> None:
    """A cell is n/a if its client says so, with the client's reason, and what a cell leaves out is named."""
    for row, client in zip(matrix_file.read(), CLIENTS, strict=True):
        for column, cell in row["cells"].items():
            reason = client.not_applicable.get(column)
            assert cell.startswith(NOT_APPLICABLE) == (reason is not None)
            assert reason is None or cell == NOT_APPLICABLE + reason
            if cell.startswith(PASSES):
                assert cell == PASSES + (f": {left_out}" if (left_out := client.leaves_out(column)) else "")


def test_a_cell_found_otherwise_is_named() -> None:
    rows = matrix_file.merged([_CLIENT], [], {(_CLIENT.name, "takeover"): PASSES})
    assert matrix_file.differences(rows, {(_CLIENT.name, "takeover"): PASSES}) == []
    (sentence,) = matrix_file.differences(rows, {(_CLIENT.name, "takeover"): "refused: too old"})
    assert sentence == f"{_CLIENT.name}, takeover: found `refused: too old`, recorded is `{PASSES}`"


def test_what_was_proven_elsewhere_stands_where_a_client_cannot_be_had() -> None:
    rows = matrix_file.merged([_CLIENT], [], {(_CLIENT.name, "takeover"): PASSES})
    found = {(_CLIENT.name, "takeover"): f"{UNTESTED}no registry carries it"}
    assert matrix_file.differences(rows, found) == []
    assert matrix_file.merged([_CLIENT], rows, found) == rows


def test_the_reason_of_a_cell_that_is_untested_everywhere_is_recorded() -> None:
    found = {(_CLIENT.name, "takeover"): f"{UNTESTED}no registry carries it"}
    never_run = matrix_file.merged([_CLIENT], [], {})
    (row,) = matrix_file.merged([_CLIENT], never_run, found)
    assert row["cells"]["takeover"] == f"{UNTESTED}no registry carries it"


def test_renewal_keeps_what_was_not_run_and_takes_reasons_from_the_client() -> None:
    before = matrix_file.merged([_CLIENT], [], {(_CLIENT.name, "takeover"): PASSES})
    (row,) = matrix_file.merged([_CLIENT], before, {(_CLIENT.name, "plain"): PASSES})
    assert (row["cells"]["takeover"], row["cells"]["plain"], row["cells"]["tls"]) == (PASSES, PASSES, UNTRIED)
    assert row["cells"]["commit"] == NOT_APPLICABLE + _CLIENT.not_applicable["commit"]

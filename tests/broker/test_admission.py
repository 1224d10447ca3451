"""Who may hold a connection: strangers make way for strangers, never those inside; groups have quotas."""

from __future__ import annotations

import pytest

from broker import admission as admission_module
from broker.admission import HOARDERS_MAX, STRANGERS_PER_ORIGIN_MAX, Admission
from broker.principal import ANONYMOUS, Principal


class Holder:
    """A connection that notes why it was cut."""

    def __init__(self, origin: str = "192.0.2.1") -> None:
        self.origin = origin
        self.reasons: list[str] = []

    def abort(self, reason: str) -> None:
        self.reasons.append(reason)


def user(group_id: str = "dtsa", connections_max: int = 0) -> Principal:
    return Principal(f"dtstest-{group_id}", group_id, frozenset(), connections_max=connections_max)


def inside(admission: Admission, principal: Principal = ANONYMOUS) -> Holder:
    holder = Holder()
    assert admission.enter(holder, is_stranger=True)
    assert admission.log_in(holder, principal) is None
    return holder


def test_strangers_fill_their_share_and_the_one_that_waited_longest_makes_way():
    admission = Admission(40)
    known = [inside(admission) for _ in range(5)]
    strangers = [Holder(f"192.0.2.{number}") for number in range(11)]
    for stranger in strangers:
        assert admission.enter(stranger, is_stranger=True)
    assert [stranger.reasons for stranger in strangers] == [["too many connections have not logged in"]] + [[]] * 10
    assert all(not holder.reasons for holder in known)


def test_one_address_fills_its_own_share_only():
    admission = Admission()
    other = Holder("198.51.100.7")
    admission.enter(other, is_stranger=True)
    flood = [Holder() for _ in range(STRANGERS_PER_ORIGIN_MAX + 2)]
    for stranger in flood:
        admission.enter(stranger, is_stranger=True)
    assert [bool(stranger.reasons) for stranger in flood] == [True, True] + [False] * STRANGERS_PER_ORIGIN_MAX
    assert other.reasons == []


def test_when_all_is_full_a_stranger_goes_first_and_without_one_the_new_one_is_refused():
    admission = Admission(4)
    for _ in range(3):
        inside(admission)
    stranger = Holder()
    admission.enter(stranger, is_stranger=True)
    newcomer = Holder()
    assert admission.enter(newcomer, is_stranger=False)
    assert stranger.reasons == ["there are too many connections"]
    refused = Holder()
    assert not admission.enter(refused, is_stranger=True)
    admission.leave(refused)
    admission.leave(newcomer)
    assert admission.enter(Holder(), is_stranger=True)


def test_a_quota_is_told_in_the_services_words_and_counts_what_is_open():
    admission = Admission()
    first = inside(admission, user(connections_max=2))
    inside(admission, user(connections_max=2))
    third = Holder()
    admission.enter(third, is_stranger=True)
    for _ in range(2):
        assert admission.log_in(third, user(connections_max=2)) == (
            "current connection number is 3, limit is 2, too many connection for dtsa"
        )
    inside(admission, user("dtsb", connections_max=1))
    admission.leave(first)
    assert admission.log_in(third, user(connections_max=2)) is None


def test_a_lower_quota_concerns_those_that_came_last():
    admission = Admission()
    holders = [inside(admission, user()) for _ in range(4)]
    assert admission.beyond("dtsa", 0) == []
    assert admission.beyond("dtsa", 3) == holders[3:]
    assert admission.beyond("dtsb", 1) == []


def test_few_strangers_may_send_much():
    admission = Admission()
    hoarders = [Holder() for _ in range(HOARDERS_MAX)]
    for holder in hoarders:
        admission.enter(holder, is_stranger=True)
        assert admission.may_hoard(holder)
        assert admission.may_hoard(holder)
    assert not admission.may_hoard(Holder())
    admission.leave(hoarders[0])
    assert admission.may_hoard(Holder())


def test_nothing_is_kept_of_those_that_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(admission_module, "STRANGERS_PER_ORIGIN_MAX", 3)
    admission = Admission(8)
    holders = [Holder() for _ in range(20)]
    for number, holder in enumerate(holders):
        admission.enter(holder, is_stranger=True)
        if number % 3 == 0:
            admission.log_in(holder, user())
    for holder in holders:
        admission.leave(holder)
        admission.leave(holder)
    kept = [value for name, value in vars(admission).items() if isinstance(value, (dict, set))]
    assert kept == [set(), {}, {}, {}, {}, set()]

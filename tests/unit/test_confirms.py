"""The confirm window: every sequence of answers, and a model to compare with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metronome_broker.confirms import ConfirmMismatch, ConfirmWindow


def window_of(count: int) -> ConfirmWindow:
    window = ConfirmWindow()
    assert [window.sent(f"run-{n}") for n in range(1, count + 1)] == list(
        range(1, count + 1)
    )
    return window


def test_single_and_multiple_answers_in_any_order() -> None:
    window = window_of(7)
    window.on_ack(3, True)
    window.on_nack(5, False)
    window.on_ack(4, False)
    window.on_ack(7, False)
    assert window.outstanding == 1
    settled = window.settle()
    assert settled.confirmed == {"run-1", "run-2", "run-3", "run-4", "run-7"}
    assert settled.nacked == {"run-5"}
    assert settled.unknown == {"run-6"}
    assert settled.returned == {}


def test_multiple_nack() -> None:
    window = window_of(3)
    window.on_nack(2, True)
    settled = window.settle()
    assert settled.nacked == {"run-1", "run-2"}
    assert settled.unknown == {"run-3"}


def test_tag_zero_with_multiple_is_all() -> None:
    window = window_of(3)
    window.on_ack(0, True)
    assert window.settle().confirmed == {"run-1", "run-2", "run-3"}


@pytest.mark.parametrize("multiple", [False, True])
def test_the_ack_after_a_return_confirms_nothing(multiple: bool) -> None:
    window = window_of(1)
    window.on_return("run-1", "NO_ROUTE")
    window.on_ack(1, multiple)
    settled = window.settle()
    assert settled.returned == {"run-1": "NO_ROUTE"}
    assert settled.confirmed == frozenset()


def test_a_return_without_its_ack_is_no_longer_unknown() -> None:
    window = window_of(2)
    window.on_return("run-1", "NO_ROUTE")
    settled = window.settle()
    assert settled.returned == {"run-1": "NO_ROUTE"}
    assert settled.unknown == {"run-2"}


def test_tags_go_on_over_batches_and_answers_do_not() -> None:
    window = window_of(2)
    window.on_ack(2, True)
    window.settle()
    assert window.sent("run-3") == 3
    window.on_ack(3, False)
    assert window.settle().confirmed == {"run-3"}
    assert window.settle().confirmed == frozenset()


def test_a_repeated_answer_changes_nothing() -> None:
    window = window_of(2)
    window.on_ack(1, False)
    window.on_nack(1, False)
    settled = window.settle()
    assert settled.confirmed == {"run-1"}
    assert settled.nacked == frozenset()


@pytest.mark.parametrize("multiple", [False, True])
def test_an_answer_for_what_was_never_sent_is_a_mismatch(multiple: bool) -> None:
    window = window_of(2)
    with pytest.raises(ConfirmMismatch, match="delivery tag 3, but only 2"):
        window.on_ack(3, multiple)
    with pytest.raises(ConfirmMismatch, match="delivery tag 3, but only 2"):
        window.on_nack(3, multiple)


def test_a_return_of_something_else_is_a_mismatch() -> None:
    with pytest.raises(ConfirmMismatch, match="'other', which is not among the 1"):
        window_of(1).on_return("other", "NO_ROUTE")


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["ack", "nack", "return"]), st.integers(1, 12), st.booleans()
    ),
    max_size=20,
)


@given(sent=st.integers(1, 12), answers=ANSWERS)
def test_each_key_is_in_one_place_and_first_answers_hold(
    sent: int, answers: list[tuple[str, int, bool]]
) -> None:
    window = window_of(sent)
    fate: dict[int, str] = {}
    open_tags = set(range(1, sent + 1))
    for kind, tag, multiple in answers:
        if tag > sent or (kind == "return" and tag not in open_tags):
            continue
        if kind == "return":
            window.on_return(f"run-{tag}", "NO_ROUTE")
            fate[tag] = "return"
            continue
        tags = {t for t in open_tags if t == tag or (multiple and t < tag)}
        (window.on_ack if kind == "ack" else window.on_nack)(tag, multiple)
        for each in tags:
            fate.setdefault(each, kind)
        open_tags -= tags
    settled = window.settle()
    for kind, keys in (
        ("ack", settled.confirmed),
        ("nack", settled.nacked),
        ("return", settled.returned.keys()),
    ):
        assert keys == {f"run-{tag}" for tag, what in fate.items() if what == kind}
    assert settled.unknown == {
        f"run-{tag}" for tag in range(1, sent + 1) if tag not in fate
    }

"""What to do about several failures: each thing once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.advice import MOST_NAMED, together
from beamtime_ioc.errors import EffectsFailedError, StepFailedError

HAND = "see whether it is on, and try by hand: ssh {} true; then press again"


def test_two_hosts_that_are_off_are_named_behind_one_advice() -> None:
    failures = [
        StepFailedError(
            f"directory {name}", "PlaceError", f"host {name} cannot be reached", HAND.format(name)
        )
        for name in ("det1", "ana1")
    ]

    error = EffectsFailedError(failures, 2)

    assert error.advice == (
        "see whether it is on, and try by hand: ssh det1 true; ssh ana1 true; then press again"
    )


@pytest.mark.parametrize(
    ("advices", "wanted"),
    [
        ([], ""),
        (["", ""], ""),
        (["ask", "", "ask"], "ask"),
        ([HAND.format("det1")], HAND.format("det1")),
        (list("abcdefg"), "a; b; c; d; e; f; g"),
        (["then press again", "ask"], "ask; then press again"),
        (["look: a, then press again", "look: b"], "look: a; b; then press again"),
        (
            ["make space, then press again", "mount it, then press again"],
            "make space; mount it; then press again",
        ),
        (
            ["make space, then press again", HAND.format("a"), "ask"],
            "make space; see whether it is on, and try by hand: ssh a true; ask; then press again",
        ),
        ([HAND.format("a"), HAND.format("a b"), HAND.format("a")], HAND.format("a true; ssh a b")),
        (
            [HAND.format(n) for n in range(MOST_NAMED + 2)],
            HAND.format("0 true; ssh 1 true; ssh 2 true; and 2 more").replace(" more true", " more"),
        ),
    ],
)
def test_several_advices_are_one(advices: list[str], wanted: str) -> None:
    assert together(advices) == wanted


@given(
    st.lists(st.sampled_from(["look", "make space, then press again", HAND.format("a"), HAND.format("b")]))
)
def test_nothing_that_was_advised_is_left_out_and_nothing_is_said_twice(advices: list[str]) -> None:
    text = together(advices)

    for word, of in {
        "look": "look",
        "space": "space",
        "ssh a true": HAND.format("a"),
        "ssh b": "ssh b",
    }.items():
        assert text.count(word) == any(of in advice for advice in advices)
    assert text.count("press again") == any("press again" in advice for advice in advices)

"""A thousand recipients in a preview: one question to either database, and less than a second."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest
from sqlalchemy import event

from beamtime_handlers.email_users import email_users
from beamtime_ioc.model import Experiment, Person
from beamtime_ioc.store import Store
from beamtime_ioc.stored_outbox import StoredOutbox
from beamtime_ioc.testing import FakeRun
from mail_house import PLACES, SITE, live_mail, people_of


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Store, None, None]:
    url = request.getfixturevalue("database").url if request.param == "postgresql" else ""
    store = Store(tmp_path / "state", "99bm:Beamtime:", database=url)
    yield store
    store.close()


def crowd(count: int) -> Experiment:
    return people_of(
        *(Person(first_name=f"P{n}", email=f"p{n}@example.edu", is_pi=not n) for n in range(count))
    )


def test_a_thousand_recipients_are_planned_with_one_question_in_less_than_a_second(
    tmp_path: Path, store: Store
) -> None:
    outbox = StoredOutbox(store)
    mail = live_mail(tmp_path, 1, outbox, limit=1000)
    for letter in mail.compose(crowd(20), PLACES, "earlier").letters:
        outbox.claim(letter)
        outbox.settle(letter.key, "accepted", "250 kept")
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    plan = FakeRun(site=SITE, services={"mail": mail}).planning()

    began = time.thread_time()  # of this thread alone: another program may take its turn meanwhile
    email_users(plan, crowd(1000))
    took = time.thread_time() - began

    assert "read: 1000 letters: 980 new, 20 already mailed; 0 without address" in plan.lines
    assert len([line for line in plan.lines if line.startswith("would make")]) == 980
    assert len([text for text in asked if "beamtime_outbox" in text]) == 1
    assert took < 1


def test_rows_are_found_together_as_they_are_found_one_by_one(tmp_path: Path, store: Store) -> None:
    outbox = StoredOutbox(store)
    first, second, third = live_mail(tmp_path, 1).compose(crowd(3), PLACES, "run").letters
    for letter, state in ((first, "accepted"), (second, "deferred")):
        outbox.claim(letter)
        outbox.settle(letter.key, state, "said")

    found = outbox.find_all([first.key, second.key, third.key])

    assert found == {letter.key: outbox.find(letter.key) for letter in (first, second)}
    assert outbox.find_all([]) == {}

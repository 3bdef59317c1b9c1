"""A thousand recipients: the work grows with their number, and what is the same for all is done once."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jinja2
import pytest

from beamtime_handlers.clients.smtp_mail import letters
from beamtime_handlers.email_users import email_users
from beamtime_ioc.model import Person
from beamtime_ioc.testing import FakeRun, MemoryOutbox
from mail_house import SITE, live_mail, people_of

LINK = "https://data.example.org/{{ experiment.name }}"


def crowd(count: int) -> list[Person]:
    return [
        Person(first_name=f"P{n}", last_name="Ünal", email=f"p{n}@example.edu", is_pi=not n)
        for n in range(count)
    ]


class CountingOutbox(MemoryOutbox):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def find(self, key: str) -> Any:
        self.counts["looks"] += 1
        return super().find(key)

    def find_all(self, keys: Collection[str]) -> Any:
        self.counts["looks"] += 1
        return super().find_all(keys)


def work_for(directory: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Counter[str]:
    """What a preview for so many people costs, in calls."""
    counts: Counter[str] = Counter()

    def counted(owner: Any, name: str, word: str) -> None:
        real = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            counts[word] += 1
            return real(*given, **named)

        monkeypatch.setattr(owner, name, call)

    counted(jinja2.Environment, "_parse", "compiled")
    counted(letters, "read_file", "read")
    counted(letters, "_folded", "folded")
    counted(letters.LetterTemplate, "render", "rendered")
    mail = live_mail(directory, 1, CountingOutbox(counts), limit=2000, data_link=LINK)
    plan = FakeRun(site=SITE, services={"mail": mail}).planning()
    counts.clear()
    email_users(plan, people_of(*crowd(count)))
    assert len([line for line in plan.lines if line.startswith("would make")]) == count
    monkeypatch.undo()
    return counts


def test_a_thousand_letters_are_planned_with_a_few_calls_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (work_for(tmp_path, monkeypatch, count) for count in (10, 1000))

    assert many["compiled"] == few["compiled"] <= 5
    assert many["read"] == few["read"] == 3
    assert (many["rendered"], many["looks"]) == (1000, 1)
    assert many["folded"] <= 2 * 1000 + 1

"""Invented experiments on which a template shows whether it can be filled."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from beamtime_ioc.model import Experiment, Person, Site

PI = Person(first_name="Zoë", last_name="Müller-Łukasik", email="zoe.mueller@example.org", is_pi=True)


def samples(site: Site, at: datetime) -> Iterator[tuple[str, Experiment]]:
    """What each is about, and the experiment; the first is a usual one."""
    start = at.astimezone(site.zone).replace(hour=8, minute=0, second=0, microsecond=0)
    usual = Experiment(
        key="sample:1",
        name=f"{start:%Y-%m}-Muller_Lukasik-9100001",
        start=start,
        end=start + timedelta(days=3),
        proposal="9100001",
        title="Foam under load",
        esaf="300011",
        cycle="2026-3",
        beamline=site.beamline,
        people=(PI,),
    )
    yield "a usual experiment", usual
    quoted = replace(PI, first_name='"Zoë"', last_name="<b>O'Brien</b>")
    yield "quotes and marks of HTML", replace(usual, title="<script>alert('x')</script> &", people=(quoted,))
    yield (
        "another script",
        replace(usual, title="应力下的泡沫", people=(replace(PI, first_name="小明", last_name="李"),)),
    )
    yield "lines in a long title", replace(usual, title="Foam\r\nunder " + "load " * 60)
    empty = Person(email=PI.email, is_pi=True)
    yield "nothing but a name", replace(usual, title="", proposal="", esaf="", cycle="", people=(empty,))
    yield "nobody as PI", replace(usual, people=(replace(PI, is_pi=False),))

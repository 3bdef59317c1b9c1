"""The exercises of the page on training: each is done as it is written, and gives the words that it shows."""

import re
import shlex
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_sim.command import app
from box_house import PREFIX, Box, Ioc, until
from docs_page import FENCE, alike
from docs_terminal import CHECKOUT, HOME

PAGE = CHECKOUT / "docs" / "how-to" / "train-with-faults.md"
STEP = re.compile(r"(?P<typed>[^#]*?)(?:\s+# or (?P<record>Sim\w+)(?: (?P<value>.*))?)?")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What to type, and what the last press says then; in turns."""

    title: str
    line: int
    turns: tuple[tuple[list[str], str], ...]


def lessons() -> list[Lesson]:
    """Each `###` of the page: its blocks are in turns `sh`, and the `text` that comes of it."""
    text = PAGE.read_text(encoding="utf-8")
    found: list[Lesson] = []
    for part in re.split(r"^(?=#{2,3} )", text, flags=re.MULTILINE):
        if part.startswith("### "):
            blocks = [(block["kind"], block["text"]) for block in FENCE.finditer(part)]
            turns = tuple(
                (typed.splitlines(), shown)
                for (kind, typed), (_, shown) in zip(blocks[::2], blocks[1::2], strict=True)
                if kind == "sh"
            )
            line = text.count("\n", 0, text.index(part)) + 1
            found.append(Lesson(title=part.splitlines()[0].removeprefix("### "), line=line, turns=turns))
    return found


LESSONS = lessons()


@dataclass(frozen=True, kw_only=True)
class Classroom:
    """A box and an IOC on it, for all lessons one after the other."""

    box: Box
    client: Client

    def knobs(self) -> dict[str, object]:
        return self.box.knobs()

    def run(self, step: str) -> str:
        """Do what is typed, and the same by its record; what a press says at its end."""
        found = STEP.fullmatch(step)
        assert found is not None, step
        words = shlex.split(found["typed"])
        if words[:2] == ["beamtime", "sim"]:
            self.turn(words[2:], found["record"], found["value"])
            return ""
        if words[:2] == ["beamtime", "press"]:
            return self.press(words[2], words[3:])
        assert words[0] == "caput", step
        self.client.write(words[1].removeprefix(PREFIX), words[2])
        return ""

    def turn(self, words: list[str], record: str, value: str | None) -> None:
        before = self.knobs()
        assert record, f"{words}: no record is named"
        self.client.write(record, "Reset" if value is None else value.strip())
        by_record = self.knobs()
        self.box.set(**{name.replace(".", "__"): value for name, value in before.items()})
        ended = CliRunner().invoke(app, [*words[:-1], str(self.box.directory)])
        assert ended.exit_code == 0, ended.output
        assert by_record == self.knobs(), f"{words} is not {record} {value}"

    def press(self, button: str, words: list[str]) -> str:
        assert words == ["--wait"], words
        with suppress(BeamtimeError):  # it says the same as the records
            self.client.press(button, wait=True)
        view = self.client.view(button)
        assert view.state.ended
        return f"{view.state}: {view.message}"


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Generator[Classroom, None, None]:
    box = Box.start(tmp_path_factory.mktemp("class") / "box", far=True)
    text = box.site.read_text()
    box.site.write_text(text.replace("timeout_s: 10", "timeout_s: 2"))
    ioc = Ioc.on(box).start()
    with ioc.client() as client:
        until(lambda: "none is on" in str(client.read("SimMessage")), "the box")
        client.press("BeginBeamtime", wait=True)  # as at the top of the page: the month's directories stand
        yield Classroom(box=box, client=client)
    assert ioc.stop() == 0
    assert box.program.stop() == 0


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.title for lesson in LESSONS])
def test_a_lesson_goes_as_it_is_written(lesson: Lesson, classroom: Classroom) -> None:
    for typed, shown in lesson.turns:
        said = [classroom.run(step) for step in typed if not step.startswith("export ")]
        came = [words for words in said if words][-1].replace(str(classroom.box.directory.parent), HOME)

        assert alike(shown, came), f"{PAGE.name}:{lesson.line}: shows\n{shown}\nbut came\n{came}"

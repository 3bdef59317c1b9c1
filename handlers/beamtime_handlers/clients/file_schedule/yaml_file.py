"""A schedule in YAML, every value taken as the text that it is: `0123` keeps its zero."""

from collections.abc import Iterator
from typing import cast

import yaml

from beamtime_handlers.clients.file_schedule.entries import (
    COLUMNS,
    PERSON,
    Contents,
    EntryError,
    FileError,
    Rules,
    Word,
    make_beamtime,
    make_cycle,
    make_person,
    unknown,
)
from beamtime_ioc.model import Beamtime, Cycle, Person

_NULL = "tag:yaml.org,2002:null"
DEEPEST = 10
_CYCLE = ("name", "start", "end")


def read_yaml(text: str, rules: Rules) -> Contents:
    """Read the keys `beamtimes` and, where the file has it, `cycles`.

    Raises
    ------
    FileError
        It is no YAML, or holds other keys.
    """
    top = dict(_top(text))
    contents = Contents()
    if "cycles" in top:
        contents.cycles = []
        for node in _items(top["cycles"], "cycles"):
            with contents.entry():
                contents.cycles.append(_cycle(node, rules))
    for node in _items(top["beamtimes"], "beamtimes"):
        with contents.entry():
            contents.take(_beamtime(node, rules), _line(node), rules)
    return contents


def _top(text: str) -> Iterator[tuple[str, yaml.Node]]:
    node = _compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise FileError(1, "should hold the key beamtimes:")
    try:
        pairs = list(_pairs(node))
    except EntryError as error:
        raise FileError(error.line, error.text) from error
    names = [name for name, _, _ in pairs]
    if problem := unknown(names, ("beamtimes", "cycles")):
        raise FileError(_line(node), problem)
    if "beamtimes" not in names:
        raise FileError(1, "should hold the key beamtimes:")
    for name, value, _ in pairs:
        yield name, value


class _Loader(yaml.SafeLoader):
    """Refuses what can make a short file endless."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = cast(yaml.NodeEvent, self.peek_event())  # pyright: ignore[reportUnknownMemberType]
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise FileError(line, f"*{event.anchor}: write the value out")
        if self.depth == DEEPEST:
            raise FileError(line, "is nested too deep")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _compose(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise FileError(
            error.problem_mark.line + 1 if error.problem_mark else 0, f"no YAML: {error.problem}"
        ) from error
    except yaml.YAMLError as error:
        raise FileError(0, "no YAML: it holds characters that YAML does not allow") from error


def _items(node: yaml.Node, name: str) -> list[yaml.Node]:
    if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise FileError(_line(node), f"{name}: should be a list")
    return cast(list[yaml.Node], node.value)


def _beamtime(node: yaml.Node, rules: Rules) -> Beamtime:
    words: dict[str, Word] = {}
    people: list[Person] = []
    for name, value, line in _pairs(node):
        if problem := unknown([name], (*COLUMNS, "people")):
            raise EntryError(line, problem)
        if name != "people":
            words[name] = _word(name, value)
        elif isinstance(value, yaml.SequenceNode):
            people = [_person(inner) for inner in cast(list[yaml.Node], value.value)]
        elif value.tag != _NULL:
            raise EntryError(line, "people should be a list")
    return make_beamtime(words, people, _line(node), rules)


def _person(node: yaml.Node) -> Person:
    return make_person(_words(node, PERSON), _line(node))


def _cycle(node: yaml.Node, rules: Rules) -> Cycle:
    return make_cycle(_words(node, _CYCLE), _line(node), rules)


def _words(node: yaml.Node, allowed: tuple[str, ...]) -> dict[str, Word]:
    words: dict[str, Word] = {}
    for name, value, line in _pairs(node):
        if problem := unknown([name], allowed):
            raise EntryError(line, problem)
        words[name] = _word(name, value)
    return words


def _pairs(node: yaml.Node) -> Iterator[tuple[str, yaml.Node, int]]:
    if not isinstance(node, yaml.MappingNode):
        raise EntryError(_line(node), "should hold keys and values")
    seen: set[str] = set()
    for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if not name or name in seen:
            raise EntryError(_line(key), f"{name} stands twice" if name else "a key should be a word")
        seen.add(name)
        yield name, value, _line(key)


def _word(name: str, node: yaml.Node) -> Word:
    if not isinstance(node, yaml.ScalarNode):
        raise EntryError(_line(node), f"{name} should be a text")
    return Word("" if node.tag == _NULL else str(node.value), _line(node))


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1

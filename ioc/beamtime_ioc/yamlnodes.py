"""The nodes of a YAML file of ours, each with its line: what is wrong is told with it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from beamtime_ioc.macros import Mark

Marked = tuple[yaml.Node, Mark]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one of libyaml where PyYAML has it: four times as fast at each start."""


def compose(text: str, path: Path, what: str) -> Marked:
    """The first node of a text.

    Raises
    ------
    RecordFileError
        It is no YAML, or declares nothing.
    """
    try:
        node = yaml.compose(text, LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise Mark(path=path, line=line).error(f"no YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise Mark(path=path, line=0).error(f"no YAML: {error}") from error
    if node is None:
        raise Mark(path=path, line=0).error(f"declares no {what}")
    return node, Mark(path=path, line=node.start_mark.line + 1)


def keys(node: yaml.Node, mark: Mark, allowed: Sequence[str], what: str) -> dict[str, Marked]:
    """The keys of a mapping that may have only these."""
    found: dict[str, Marked] = {}
    for key, inner, at in pairs(node, mark):
        if key not in allowed:
            raise at.error(f"{what}: unknown key {key!r}; allowed are {', '.join(allowed)}")
        found[key] = inner, at
    return found


def pairs(node: yaml.Node, mark: Mark) -> Iterator[tuple[str, yaml.Node, Mark]]:
    """The keys of a mapping, each once, with their lines."""
    if not isinstance(node, yaml.MappingNode):
        raise mark.error("should hold keys and values")
    seen: set[str] = set()
    for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
        at = Mark(path=mark.path, line=key.start_mark.line + 1)
        name = word(key, at, "a key")
        if name in seen:
            raise at.error(f"{name} stands twice")
        seen.add(name)
        yield name, value, at


def word(node: yaml.Node, mark: Mark, what: str) -> str:
    """A word or a text."""
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise mark.error(f"{what}: should be a word or a text")
    return str(node.value)

"""The reference says what there is: pages that are generated, and pages that are written by hand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from beamtime_ioc.cli import cli
from beamtime_ioc.export import write_all
from beamtime_ioc.model import RunState
from beamtime_ioc.registry import load_commands
from docs_terminal import CHECKOUT

REFERENCE = CHECKOUT / "docs" / "reference"
GENERATED = ("records.md", "site-file.md")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported")
    write_all(directory, None)
    return directory


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_what_export_writes_now(exported: Path, name: str) -> None:
    committed = (REFERENCE / name).read_text(encoding="utf-8")

    now = (exported / name).read_text(encoding="utf-8")

    assert committed == now, f"write it again: .venv/bin/beamtime export DIR; cp DIR/{name} docs/reference/"


def sections(page: str) -> dict[str, str]:
    """What the page says about each command, by its words: `sim set`."""
    parts = re.split(r"^##+ `beamtime ([a-z -]+?)(?: [A-Z].*)?`$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """A command of typer and those below it, with their words."""
    if words:
        yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{words} {name}".strip())


def all_commands() -> dict[str, Any]:
    app = typer.Typer()
    app.registered_commands = list(cli.registered_commands)
    app.registered_groups = list(cli.registered_groups)
    for name, installed in load_commands():
        app.add_typer(installed, name=name)
    return dict(commands(typer.main.get_command(app), ""))


def options(command: Any) -> set[str]:
    names = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    return names - {"--help"}


def test_the_page_of_the_command_line_has_a_section_for_every_command() -> None:
    said = sections((REFERENCE / "cli.md").read_text(encoding="utf-8"))

    assert set(said) == set(all_commands())


def test_each_section_names_the_options_that_the_command_has_and_no_others() -> None:
    said = sections((REFERENCE / "cli.md").read_text(encoding="utf-8"))

    named = {words: set(re.findall(r"`(--[a-z-]+)`", text)) for words, text in said.items()}

    assert named == {words: options(command) for words, command in all_commands().items()}


def test_the_words_have_every_state_in_its_order() -> None:
    page = (REFERENCE / "glossary.md").read_text(encoding="utf-8")

    rows = re.findall(r"^\| (\w+) \| (?:none|MINOR|MAJOR) \|", page, flags=re.MULTILINE)

    assert rows == [state.value for state in RunState]


def test_every_page_that_another_names_is_there() -> None:
    pages = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]

    lost = [
        f"{page.relative_to(CHECKOUT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert lost == []


def test_every_source_file_that_an_explanation_names_is_there() -> None:
    pages = sorted(CHECKOUT.glob("docs/explanations/**/*.md"))

    named = {
        name for page in pages for name in re.findall(r"`([\w/]+\.py)`", page.read_text(encoding="utf-8"))
    }

    roots = (CHECKOUT, CHECKOUT / "ioc" / "beamtime_ioc")
    assert named
    assert [name for name in sorted(named) if not any((root / name).exists() for root in roots)] == []

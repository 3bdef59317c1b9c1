"""What is found by its entry points is looked at when the program starts."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.registry import load_actions

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package whose action `note` has a handler of the given parameters."""

    def install(parameters: str) -> None:
        information = tmp_path / "notes-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: notes\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[beamtime.handlers]\nnote = own_notes:note\n")
        (tmp_path / "own_notes.py").write_text(
            "from beamtime_ioc.action import action\n\n\n"
            f'@action("note", resource="notes")\ndef note({parameters}):\n    return None\n'
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "own_notes", raising=False)

    return install


@pytest.mark.parametrize("parameters", ["run", "", "run, experiment, place", "run, *, experiment"])
def test_a_handler_that_cannot_take_run_and_experiment_is_refused(install: Install, parameters: str) -> None:
    install(parameters)

    with pytest.raises(BeamtimeError) as refused:
        load_actions()

    assert "the handler of note cannot be called with a run and an experiment: " in str(refused.value)
    assert "def handler(run, experiment)" in str(refused.value)


@pytest.mark.parametrize("parameters", ["run, experiment", "_run, _experiment, *, quick=False", "*both"])
def test_a_handler_that_can_take_both_is_found(install: Install, parameters: str) -> None:
    install(parameters)

    actions = load_actions()

    assert actions["note"].resource == "notes"

"""Which box `beamtime sim set` turns a knob of when nobody says so."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beamtime_sim.box import Box
from beamtime_sim.errors import BoxError
from beamtime_sim.which_box import box_meant, runs_on


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def running(directory: Path) -> Generator[Path]:
    box = Box(directory, local=True)
    box.start()
    try:
        yield directory
    finally:
        box.stop()


def test_the_box_of_the_site_file_comes_first(temporary: Path) -> None:
    with running(temporary / "beamtime-demo-x"), running(temporary / "other") as other:
        assert box_meant({"BEAMTIME_SITE": str(other / "site.yaml")}) == other
    assert box_meant({"BEAMTIME_SITE": str(other / "site.yaml")}) == other


def test_a_site_file_without_a_box_does_not_hide_the_demo_that_runs(temporary: Path) -> None:
    ended = temporary / "beamtime-demo-ended"
    with running(ended):
        assert runs_on(ended)

    with running(temporary / "beamtime-demo-x") as demo:
        assert box_meant({"BEAMTIME_SITE": str(temporary / "site.yaml")}) == demo
        assert box_meant({}) == demo
    assert not runs_on(demo)


def test_none_or_two_are_said_with_what_to_give(temporary: Path) -> None:
    with pytest.raises(BoxError, match=r"say which box by --dir DIR, .* BEAMTIME_SITE: no demo runs"):
        box_meant({})

    with (
        running(temporary / "beamtime-demo-1") as one,
        running(temporary / "beamtime-demo-2") as two,
        pytest.raises(BoxError, match=f": {one}, {two} run$"),
    ):
        box_meant({})

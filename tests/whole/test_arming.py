"""An action that cannot be undone, of a site's own package, between a real IOC and real clients."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX, Box, Ioc, beamtime, until
from c_client import CClient

HANDLER = '''
"""What a test takes away."""

from pathlib import Path

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment


@action("purge-sample", resource="samples", irreversible=True)
def purge_sample(run: Run, experiment: Experiment) -> None:
    """Write down that the sample of an experiment is gone."""
    gone = Path("{gone}")
    run.effect(
        "sample is gone",
        look=lambda: None,
        make=lambda: gone.open("a").write(experiment.name + "\\n"),
        verify=lambda: experiment.name if experiment.name in gone.read_text() else None,
    )
'''
ROWS = """
file action.template {
    pattern { ACTION, NAME, VERB, DESC } { "purge-sample", "PurgeSample", "Purge", "Take the sample away" }
}
file arm.template { pattern { ACTION, NAME } { "purge-sample", "PurgeSample" } }
"""


@pytest.fixture
def armed_ioc(box: Box, tmp_path: Path) -> Generator[Ioc, None, None]:
    package = tmp_path / "package"
    info = package / "purging-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "purging.py").write_text(HANDLER.format(gone=box.directory / "gone"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: purging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[beamtime.handlers]\npurge-sample = purging:purge_sample\n")
    (box.directory / "purging.substitutions").write_text(ROWS)

    def add(site: dict[str, Any]) -> None:
        site["records"] = ["purging.substitutions"]

    box.edit_site(add)
    path = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    ioc = Ioc.on(box, PYTHONPATH=os.pathsep.join(path)).start()
    yield ioc
    assert ioc.stop() == 0


def gone(box: Box) -> list[str]:
    file = box.directory / "gone"
    return file.read_text().split() if file.exists() else []


def test_it_takes_the_experiments_name_first_and_each_name_is_good_for_one_press(
    box: Box, armed_ioc: Ioc
) -> None:
    with armed_ioc.client() as client, CClient(armed_ioc.ca) as c:
        client.press("UpdateUserInfo", wait=True)
        name = client.read("ExperimentName")
        advice = f"type {name} into PurgeSampleArm, then press again within 60 s"
        with pytest.raises(BeamtimeError, match=f"cannot be undone and is not armed; {advice}"):
            client.press("PurgeSample", wait=True)
        with pytest.raises(BeamtimeError, match="is not the name of the current experiment"):
            client.write("PurgeSampleArm", "something else")
        assert gone(box) == []

        c("put_plain", f"{PREFIX}PurgeSampleArm", 4, len(name) + 1, f"{name}\0".encode().hex())
        until(lambda: client.read("PurgeSampleArmed") == "Armed", "the arm")
        client.press("PurgeSample", wait=True)

        assert gone(box) == [name]
        assert (client.read("PurgeSampleArm"), client.read("PurgeSampleArmed")) == ("", "No")
        with pytest.raises(BeamtimeError, match="is not armed"):
            client.press("PurgeSample", wait=True)
        assert gone(box) == [name]


def test_nothing_is_armed_after_a_restart(box: Box, armed_ioc: Ioc) -> None:
    def arm(client: Client) -> None:
        client.press("UpdateUserInfo", wait=True)
        client.write("PurgeSampleArm", client.read("ExperimentName"))
        assert client.read("PurgeSampleArmed") == "Armed"

    with armed_ioc.client() as client:
        arm(client)
    armed_ioc.kill()
    armed_ioc.start()

    with armed_ioc.client() as client:
        assert client.read("PurgeSampleArmed") == "No"
        with pytest.raises(BeamtimeError, match="is not armed"):
            client.press("PurgeSample", wait=True)
    assert gone(box) == []


def test_the_command_line_does_both_steps(box: Box, armed_ioc: Ioc) -> None:
    with armed_ioc.client() as client:
        client.press("UpdateUserInfo", wait=True)
        name = client.read("ExperimentName")

    wrong = beamtime("press", "PurgeSample", "--wait", "--arm", "last week", "--site", str(box.site))
    right = beamtime("press", "PurgeSample", "--wait", "--arm", name, "--site", str(box.site))

    assert (wrong.returncode, right.returncode) == (2, 0), right.stderr
    assert "is not the name of the current experiment" in wrong.stderr
    assert gone(box) == [name]
    audited = beamtime("audit", "--site", str(box.site)).stdout
    assert f"armed for {name}" in audited

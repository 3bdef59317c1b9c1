"""The box with a site's own package in it: a service, two actions and their buttons."""

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from box_house import Box, Ioc

PACKAGE = Path(__file__).parent / "site_package"
PLACES = ("det1", "ana1")
"""As the box's site file has them."""
COPY_BYTES = 1_000_000
"""As the package's handler has it: how long a copy takes is for the box to say."""
ENTRY_POINTS = """\
[beamtime.handlers]
post-note = chaos_actions:post_note
copy-data = chaos_actions:copy_data

[beamtime.services]
errands.box = chaos_errands
"""
METADATA = "Metadata-Version: 2.1\nName: chaos\nVersion: 1.0\n"


def start_box(directory: Path, *, far: bool = False) -> Box:
    """Start the facility, and give its site file the two actions."""
    box = Box.start(directory, far=far)
    errands = yaml.safe_load((directory / "sim.yaml").read_text())["errands"]

    def add(site: dict[str, Any]) -> None:
        site["records"] = [str(PACKAGE / "chaos.substitutions")]
        site["errands"] = {"backend": "box", "url": errands}

    box.edit_site(add)
    return box


def install(directory: Path) -> Path:
    """Lay the package out as an installer does; gives the directory for PYTHONPATH."""
    directory.mkdir()
    for source in PACKAGE.glob("*.py"):
        shutil.copy(source, directory)
    info = directory / "chaos-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info / "METADATA").write_text(METADATA)
    return directory


def ioc_on(box: Box, package: Path) -> Ioc:
    """An IOC that finds the package; not started yet."""
    path = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Ioc.on(box, PYTHONPATH=os.pathsep.join(path))

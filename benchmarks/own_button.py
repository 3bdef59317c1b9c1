"""A button of the bench's own, and an environment in which an IOC finds what it does."""

import os
from collections.abc import Mapping
from pathlib import Path

from servers import HERE

OWN = "own"
"""A directory that is on nobody's path by itself: the next server finds no action that it cannot load."""

RECORDS = """
file action.template {{
    pattern {{ ACTION,     NAME,       VERB, DESC }}
            {{ "{action}", "{button}", "Go", "An action of the bench" }}
}}
"""


def install_button(directory: Path, action: str, button: str, module: str) -> Path:
    """Let programs that `finding` is given to find an action in a module; gives the file with its button."""
    info = directory / OWN / f"{module}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n", encoding="utf-8")
    entry = f"[beamtime.handlers]\n{action} = {module}:{action.replace('-', '_')}\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    path = directory / f"{module}.substitutions"
    path.write_text(RECORDS.format(action=action, button=button), encoding="utf-8")
    return path


def finding(directory: Path) -> Mapping[str, str]:
    """The environment of a program that shall find it."""
    places = [str(directory / OWN), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(places)}

"""``sim.yaml``: what a box keeps over restarts, its anchor date and its ports."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self, cast

import yaml

from beamtime_sim.errors import BoxError
from beamtime_sim.faults import HOSTS
from beamtime_sim.free_ports import free_ports
from beamtime_sim.web import HOST

PORTS = ("schedule", "mail", "control", "errands", *HOSTS, "ca", "pva")
_ADDED = {"errands", *HOSTS}  # a box from before it had these gets ports for them
_HEAD = """\
# What this box keeps over restarts. Remove this file and site.yaml, and new ports are chosen.
# anchor: the day on which the first group is on beam. ports: of the box's servers, and the two of the IOC.
# errands: where notes and copies are taken; the site file does not speak of it.
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The anchor date and a port for each name of `PORTS`."""

    anchor: date
    ports: dict[str, int]

    @property
    def errands_url(self) -> str:
        """The base of the errands service, with a closing slash."""
        return f"http://{HOST}:{self.ports['errands']}/"

    @classmethod
    def chosen(cls, anchor: date) -> Self:
        """Choose free ports for a new box."""
        return cls(anchor=anchor, ports=dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a box's file.

        Raises
        ------
        BoxError
            The file is damaged.
        """
        try:
            raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise _damaged(path) from error
        content = cast("dict[str, Any]", raw if isinstance(raw, dict) else {})
        anchor, ports = content.get("anchor"), content.get("ports")
        if not isinstance(anchor, date) or not isinstance(ports, dict):
            raise _damaged(path)
        numbers = cast("dict[str, object]", ports)
        if not set(PORTS) - _ADDED <= set(numbers) <= set(PORTS) or not all(map(_is_port, numbers.values())):
            raise _damaged(path)
        missing = [name for name in PORTS if name not in numbers]
        added = dict(zip(missing, free_ports(len(missing)), strict=True))
        return cls(anchor=anchor, ports={**cast("dict[str, int]", ports), **added})

    def write(self, path: Path) -> None:
        """Write the file in one piece."""
        half = path.with_suffix(".part")
        content = {"anchor": self.anchor, "ports": self.ports, "errands": self.errands_url}
        written = yaml.safe_dump(content, sort_keys=False)  # pyright: ignore[reportUnknownMemberType]
        half.write_text(_HEAD + written, encoding="utf-8")
        half.rename(path)


def _is_port(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 < number < 65_536


def _damaged(path: Path) -> BoxError:
    return BoxError(
        f"{path} needs an anchor date and the ports {', '.join(PORTS)}; "
        "mend it, or remove it and site.yaml to begin anew"
    )

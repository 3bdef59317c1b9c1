"""An IOC on a box, and TomoScans beside it, for what one writes to the other."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beamtime_ioc.client import Client
from box_house import PREFIX as OURS
from box_house import Box, Ioc, until
from c_tomoscan import TomoScan
from wire_house import pva_context

PREFIX = "99bm:TomoScan:"


@dataclass
class LinkHouse:
    """A box; its IOC begins when a test asks for it."""

    box: Box
    tomoscans: list[TomoScan]
    started: list[Ioc] = field(default_factory=list)

    @property
    def tomoscan(self) -> TomoScan:
        return self.tomoscans[0]

    def serve(self, **sections: object) -> Client:
        """Start the IOC with these keys in its site file; gives a client of it."""
        self.box.edit_site(lambda site: site.update(sections))
        ioc = Ioc.on(
            self.box,
            EPICS_CA_ADDR_LIST=" ".join(one.address for one in self.tomoscans),
            EPICS_CA_AUTO_ADDR_LIST="NO",
            EPICS_CA_REPEATER_PORT="65000",  # nobody's, and nobody is started there
        )
        self.started.append(ioc.start())
        return ioc.client()


@contextmanager
def link_house(directory: Path, *, tomoscans: int = 1, start: bool = True) -> Generator[LinkHouse]:
    """A box and so many TomoScans; all are ended, and our IOC well."""
    others = [TomoScan(PREFIX if not n else f"99bm:TomoScan{n}:") for n in range(tomoscans)]
    box = Box.start(directory / "box")
    house = LinkHouse(box, others)
    try:
        if start:
            for other in others:
                other.start()
        yield house
    finally:
        for other in others:
            other.stop()
        codes = [ioc.stop() for ioc in house.started if ioc.program.child.poll() is None]
        assert box.program.stop() == 0
    assert not any(codes)


def rows(house: LinkHouse, table: str) -> dict[str, dict[str, Any]]:
    """A table's rows, by their first column."""
    with pva_context(house.started[-1].pva) as context:
        columns = {name: list(values) for name, values in context.get(OURS + table).value.items()}
    first = next(iter(columns))
    return {
        key: dict(zip(columns, row, strict=True))
        for key, row in zip(columns[first], zip(*columns.values(), strict=True), strict=True)
    }


def until_read(client: Client, suffix: str, wanted: object, deadline_s: float = 40) -> None:
    """Wait until a record shows a value, or a text with these words in it."""
    seen: list[object] = [None]

    def stands() -> bool:
        seen[0] = client.read(suffix)
        return seen[0] == wanted or (isinstance(wanted, str) and wanted in str(seen[0]))

    try:
        until(stands, deadline_s=deadline_s)
    except AssertionError:
        raise AssertionError(f"{suffix} is {seen[0]!r}, and never {wanted!r}") from None

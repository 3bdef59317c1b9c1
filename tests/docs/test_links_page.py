"""The site files of the page on other IOCs are read as they stand there."""

from pathlib import Path

import pytest

from beamtime_ioc.config import read_site_file
from beamtime_ioc.equipment import load_site_records
from beamtime_ioc.registry import load_actions
from docs_page import FENCE
from docs_terminal import CHECKOUT

PAGE = CHECKOUT / "docs" / "how-to" / "link-other-iocs.md"
SITE = """\
prefix: "99bm:Beamtime:"
beamline: "99-BM-A,B"
timezone: America/Chicago
places: [{name: det1, top: /local/data}, {name: ana1, top: /data/99BM}]
"""
BLOCKS = [block["text"] for block in FENCE.finditer(PAGE.read_text()) if block["kind"] == "yaml"]


@pytest.mark.parametrize("text", BLOCKS, ids=[text.partition(":")[0] for text in BLOCKS])
def test_what_the_page_says_to_write_can_be_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(SITE + text, encoding="utf-8")

    file = read_site_file(path)

    load_site_records(file, load_actions())
    assert file.frame.mirrors or file.frame.interlocks or file.frame.consumers

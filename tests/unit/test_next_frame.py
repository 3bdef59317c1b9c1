"""Where a frame would go: paths of other computers, compared without asking a disk."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.consumers import as_seen_here, lies_in

HERE = "/data/det1/2026-11/exp1"
names = st.text(string.ascii_letters + string.digits + "-_. ", min_size=1, max_size=8).filter(
    lambda name: name.strip() == name and name not in (".", "..")
)


@pytest.mark.parametrize(
    ("path", "mounts", "ok"),
    [
        ("/data/det1/2026-11/exp1", {}, True),
        ("/data/det1/2026-11/exp1/", {}, True),
        ("//data//det1/./2026-11/exp1//raw", {}, True),
        ("/data/det1/2026-11/exp1/../exp1/raw", {}, True),
        ("/data/det1/2026-11/exp10", {}, False),
        ("/data/det1/2026-11/exp", {}, False),
        ("/data/det1/2026-11/exp1/../exp10/", {}, False),
        ("/data/det1/2026-11/exp1/..", {}, False),
        ("/data/det1/2026-10/exp1", {}, False),
        ("data/det1/2026-11/exp1", {}, False),
        ("/../data/det1/2026-11/exp1", {}, True),
        ("/Data/det1/2026-11/exp1", {}, False),
        ("/mnt/d/2026-11/exp1/raw", {"/mnt/d": "/data/det1"}, True),
        ("/mnt/d/2026-11/exp1/raw", {"/mnt/d/": "/data/det1/"}, True),
        ("/mnt/data/2026-11/exp1", {"/mnt/d": "/data/det1"}, False),
        ("/mnt/d/x/2026-11/exp1", {"/mnt/d": "/nowhere", "/mnt/d/x": "/data/det1"}, True),
        ("/mnt/d/../d/2026-11/exp1", {"/mnt/d": "/data/det1"}, True),
        ("/2026-11/exp1", {"/": "/data/det1"}, True),
        ("X:\\2026-11\\exp1\\raw\\", {"X:": "/data/det1"}, True),
        ("X:\\2026-11\\exp1\\..\\exp10", {"X:\\": "/data/det1"}, False),
        ("\\\\server\\share\\2026-11\\exp1", {"\\\\server\\share": "/data/det1"}, True),
    ],
)
def test_a_path_is_right_in_the_directory_and_below_it(path: str, mounts: dict[str, str], ok: bool) -> None:
    assert lies_in(as_seen_here(path, mounts), HERE) is ok


@given(st.lists(names, min_size=1, max_size=4), st.lists(names, max_size=3), st.integers(0, 3))
def test_what_is_below_a_directory_lies_in_it_however_it_is_spelled(
    parts: list[str], below: list[str], slashes: int
) -> None:
    directory = "/" + "/".join(parts)
    path = "/".join(["/mnt", *parts, *below]) + "/" * slashes

    assert lies_in(as_seen_here(path, {"/mnt": "/"}), directory)
    assert not lies_in(as_seen_here(f"{directory}0", {}), directory)
    assert not lies_in(as_seen_here(f"{directory}/..", {}), directory)

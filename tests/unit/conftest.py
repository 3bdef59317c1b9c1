"""Places for the tests of directories: on a disk here, and on a host over ssh."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from beamtime_handlers.clients.hosts.directories import Directories
    from beamtime_handlers.clients.hosts.ssh import SshHosts
    from beamtime_ioc.model import Place
    from places_house import Ground
    from ssh_house import SshHouse


@pytest.fixture(scope="module")
def ssh_hosts(ssh_servers: "SshHouse") -> "Generator[SshHosts, None, None]":
    """A client of both hosts, for all tests of a file that leave its connections as they are."""
    with ssh_servers.client() as hosts:
        yield hosts


@pytest.fixture
def far_place(ssh_servers: "SshHouse", tmp_path: Path) -> "Place":
    """A place on the first host, with an empty top."""
    top = tmp_path / "top"
    top.mkdir()
    return ssh_servers.place(ssh_servers.det1, top)


@pytest.fixture(params=["local", "ssh"])
def ground(
    request: pytest.FixtureRequest, tmp_path: Path, ssh_servers: "SshHouse", ssh_hosts: "SshHosts"
) -> "Generator[Ground, None, None]":
    """A place of each kind, with an empty top."""
    from places_house import ground_on

    top = tmp_path / "top"
    top.mkdir()
    with ExitStack() as stack:

        def new(**settings: Any) -> "Directories":
            return stack.enter_context(ssh_servers.client(**settings))

        yield ground_on(ssh_servers, ssh_hosts, new, top, request.param)

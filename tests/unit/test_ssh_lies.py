"""Hosts that write without end, or answer what our program never says, over a real ssh."""

from contextlib import suppress

import pytest

from beamtime_handlers.clients.hosts.ssh import SshHosts
from beamtime_ioc.errors import PlaceError
from beamtime_ioc.model import Place
from disk_house import EXPERIMENT
from engine_world import until
from ssh_house import SshHouse


@pytest.mark.parametrize("where", ["", " >&2"], ids=["stdout", "stderr"])
def test_a_login_that_writes_without_end_is_given_up_and_named(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, where: str
) -> None:
    endless = f"while :; do printf '%65536s' ''{where}; done"
    with ssh_servers.det1.planted("sh", endless), pytest.raises(PlaceError) as error:
        ssh_hosts.find_directory(far_place, EXPERIMENT)

    assert error.value.state == "UNREACHABLE"
    assert "host det1 wrote more than 16 MB" in error.value.sentence
    assert "by hand" in error.value.advice
    assert ssh_hosts.find_directory(far_place, EXPERIMENT) is None


def test_a_connection_that_writes_without_end_is_ended(ssh_servers: SshHouse, far_place: Place) -> None:
    endless = "while :; do printf '%65536s' '' >&2; done"
    with ssh_servers.det1.planted("cat", endless), ssh_servers.client() as hosts:
        with suppress(PlaceError):
            hosts.find_directory(far_place, EXPERIMENT)
        (held,) = hosts._connections.values()
        master = held._master
        until(lambda: master is None or master.poll() is not None, "the end of the connection")
    with ssh_servers.client() as hosts:
        assert hosts.find_directory(far_place, EXPERIMENT) is None


LIES = {
    "nothing at all": "say done",
    "one way too many": "say walk; say end here; say walk; say end here; say done",
    "levels that there are not": "say walk; for n in 1 2 3 4 5 6 7 8 9; do "
    "say level 755/1/1/a/a/1; done; say marker none; say end here; say done",
    "no level": "say walk; say end here; say done",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_an_answer_that_our_program_never_gives_is_named(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, far_place: Place, lie: str
) -> None:
    hears = 'IFS= read -r line; token=${line#token=}; say() { printf "%s %s\\n" "$token" "$*"; }; echo; '
    with ssh_servers.det1.planted("sh", hears + lie):
        for ask in (ssh_hosts.find_directory, ssh_hosts.make_directory):
            with pytest.raises(PlaceError, match=r"det1: host det1 .*never says") as error:
                ask(far_place, EXPERIMENT)
            assert error.value.advice

"""Twenty places are not made one after the other."""

import time
from dataclasses import replace
from pathlib import Path

from beamtime_handlers.clients.hosts.ssh import SshHosts
from beamtime_handlers.create_directories import create_directories
from beamtime_ioc.model import Place
from beamtime_ioc.testing import FakeRun
from disk_house import EXPERIMENT
from ssh_house import SshHouse, program

MOST_TIMES_LONGER = 3


def took_s(hosts: SshHosts, places: list[Place]) -> float:
    run = FakeRun(site=replace(hosts.site, places=tuple(places)), services={"hosts": hosts})
    began = time.monotonic()
    create_directories(run, EXPERIMENT)
    return time.monotonic() - began


def test_twenty_places_on_two_hosts_with_a_second_of_work_each_take_less_than_three_times_one(
    ssh_servers: SshHouse, ssh_hosts: SshHosts, tmp_path: Path
) -> None:
    slow = f'{program("sleep")} 1; exec {program("mkdir")} "$@"'
    both = (ssh_servers.det1, ssh_servers.ana1)
    for host in both:
        (tmp_path / host.name).mkdir()
        ssh_hosts.check_place(ssh_servers.place(host, tmp_path / host.name))  # the connection stands
    twenty = [
        ssh_servers.place(host, tmp_path / host.name, name=f"{host.name}-{number}", path=f"{number}-{{name}}")
        for host in both
        for number in range(10)
    ]
    with ssh_servers.det1.planted("mkdir", slow), ssh_servers.ana1.planted("mkdir", slow):
        one_s = took_s(ssh_hosts, [replace(twenty[0], path="alone-{name}")])
        all_s = took_s(ssh_hosts, twenty)

    assert one_s > 1
    assert len(list(tmp_path.glob("*/[0-9]*/.experiment.json"))) == 20
    assert all_s < MOST_TIMES_LONGER * one_s

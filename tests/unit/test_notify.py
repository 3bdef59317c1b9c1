"""What a service manager is told, on a socket as systemd makes one."""

import os
import socket
from pathlib import Path

import pytest

from beamtime_ioc.notify import Supervisor


class Manager:
    """The other end."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(5)

    def hears(self) -> list[str]:
        self._socket.settimeout(5)
        return self._socket.recv(4096).decode().splitlines()

    def hears_nothing(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = f"beamtime-notify-{os.getpid()}-{id(request)}"
    path = str(tmp_path / "notify")
    made = Manager("\0" + name if request.param == "abstract" else path)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if request.param == "abstract" else path)
    yield made
    made.close()


def test_it_is_told_ready_once_and_each_new_status(manager: Manager) -> None:
    supervisor = Supervisor()

    supervisor.ready("serves 3 records")
    assert manager.hears() == ["READY=1", "STATUS=serves 3 records"]
    supervisor.ready("serves 3 records")
    assert manager.hears_nothing()
    supervisor.alive("a twin\nis there")
    assert manager.hears() == ["STATUS=a twin is there"]
    supervisor.alive()
    assert manager.hears() == ["STATUS=serves 3 records"]


def test_without_a_watchdog_life_is_not_told(manager: Manager) -> None:
    supervisor = Supervisor()

    supervisor.alive()

    assert manager.hears_nothing()
    assert supervisor.watchdog_s == 0


@pytest.mark.parametrize("names_us", [False, True])
def test_with_a_watchdog_each_sign_of_life_is_told(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, names_us: bool
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2500000")
    if names_us:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    supervisor = Supervisor()

    supervisor.alive()
    supervisor.alive()

    assert supervisor.watchdog_s == 2.5
    assert manager.hears() == manager.hears() == ["WATCHDOG=1"]


def test_a_watchdog_meant_for_another_process_is_not_fed(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2500000")
    monkeypatch.setenv("WATCHDOG_PID", "1")

    Supervisor().alive()

    assert manager.hears_nothing()


def test_the_end_is_told(manager: Manager) -> None:
    Supervisor().stopping()

    assert manager.hears() == ["STOPPING=1", "STATUS=ends: what is at work may end its step"]


def test_a_manager_that_has_gone_does_no_harm(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manager.close()
    supervisor = Supervisor()

    supervisor.ready("one")
    supervisor.ready("two")

    assert [record.message.startswith("systemd cannot be told") for record in caplog.records] == [True]


def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    supervisor = Supervisor()

    supervisor.ready("serves")

    assert supervisor.watchdog_s == 0

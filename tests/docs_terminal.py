"""A terminal in which the pages are walked through as a reader would."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).parents[1]
PATIENCE_S = 60.0
SERVER = re.compile(r"beamtime (serve|sim --dir) \S+( --local)?")
HOME = "/home/bm99"


class Terminal:
    """A shell in a directory of its own, which holds the clone under the name `beamtime-ioc`.

    A command that serves, as in a second terminal, is left running when it has said READY.
    """

    def __init__(self, directory: Path, repeater_port: int) -> None:
        self.directory = directory.resolve()
        (directory / "beamtime-ioc").symlink_to(CHECKOUT)
        (directory / "tmp").mkdir()
        self._environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(directory),
            "USER": "bm99",
            "LOGNAME": "bm99",
            "LANG": "C.UTF-8",
            "COLUMNS": "400",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(directory / "tmp"),
            # What `pip install` installs goes here: the environment of the tests stays as it is.
            "PIP_TARGET": str(directory / "installed"),
            "PYTHONPATH": str(directory / "installed"),
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # so it is written when it shall hold
            "PIP_NO_INDEX": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_QUIET": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            # Somebody listens there, so that a client starts no repeater that would outlive it.
            "EPICS_CA_REPEATER_PORT": str(repeater_port),
        }
        self._servers: list[subprocess.Popen[bytes]] = []
        self._shell = self._start(["bash", "--norc", "--noprofile"], stderr=subprocess.STDOUT)

    def _start(self, command: list[str], stderr: int | IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.directory,
            env=self._environment,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """What the command ends with, and what it writes; of a server what it writes until READY."""
        return self._serve(command) if SERVER.fullmatch(command) else self._type(command)

    def _type(self, command: str) -> tuple[int, str]:
        assert self._shell.stdin is not None
        end = f"end-of-{time.monotonic_ns()}"
        # The last line gives the command's exit code to the next command, for `echo $?`.
        words = f'{command}\ncode=$?; printf "\\n%s %s\\n" {end} $code; (exit $code)\n'
        self._shell.stdin.write(words.encode())
        self._shell.stdin.flush()
        text, code = self._read(self._shell, re.compile(rf"\n{end} (\d+)\n"), command)
        return int(code), text

    def _serve(self, command: str) -> tuple[int, str]:
        log = self.directory / f"server-{len(self._servers)}.log"
        with log.open("wb") as stderr:
            server = self._start(["bash", "-c", f"exec {command}"], stderr)
        self._servers.append(server)
        try:
            text, ready = self._read(server, re.compile(r"^(READY .*\n)", re.MULTILINE), command)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text(errors='replace')}") from error
        return 0, text + ready

    def _read(self, process: "subprocess.Popen[bytes]", end: re.Pattern[str], what: str) -> tuple[str, str]:
        assert process.stdout is not None
        raw, deadline = b"", time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            readable, _, _ = select.select([process.stdout], [], [], 0.5)
            if not readable:
                continue
            more = os.read(process.stdout.fileno(), 65536)
            raw += more
            text = raw.decode(errors="replace")
            if found := end.search(text):
                return text[: found.start()], found[1]
            if not more:
                raise AssertionError(f"`{what}` ended: {text}")
        raise AssertionError(f"`{what}` did not end within {PATIENCE_S:g} s: {raw.decode(errors='replace')}")

    def close(self) -> None:
        for process in [*reversed(self._servers), self._shell]:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in [*self._servers, self._shell]:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()

    def plain(self, text: str) -> str:
        """The text as the pages have it: the directory is that of an invented user."""
        return text.replace(str(self.directory), HOME)

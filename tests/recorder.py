"""An ssh that writes down every word it is given, and then does what it was asked."""

import re
from dataclasses import dataclass
from pathlib import Path

from beamtime_handlers.clients.hosts.script import PROGRAM
from ssh_house import on_path, program

WORD = r"'(?:[A-Za-z0-9_./:,]|\\0[0-3][0-7]{2})*'"
LINES = re.compile(
    rf"token=[0-9a-f]{{16}}|plain {WORD}; [a-z]+=\$word|marker={WORD}|bits=0[0-7]{{4}}|files=\d+ largest=\d+"
    rf"|ask_space=1? mount=1?|(?:look|count|make (?:bare|new|adopt|ours))(?: {WORD})*|stuck=\d*|begin"
    r"|say done|main\(\) \{|\}|main </dev/null|exit 0|"
)
"""All lines that may reach a shell besides our own constant text."""


@dataclass(frozen=True)
class Recorder:
    """Where it writes what it was given."""

    directory: Path

    def environment(self) -> dict[str, str]:
        """With it before the real one on PATH."""
        self.directory.mkdir(exist_ok=True)
        text = (
            f"#!{program('sh')}\n"
            f"printf '%s\\n' \"$@\" >>'{self.directory}/words'\n"
            f"mkfifo '{self.directory}'/$$\nexec 3<&0\n"
            f"tee '{self.directory}/program'.$$ <&3 >'{self.directory}'/$$ &\n"
            f"exec {program('ssh')} \"$@\" <'{self.directory}'/$$ 3<&-\n"
        )
        return on_path(self.directory / "bin", "ssh", text)

    def words(self) -> set[str]:
        return set((self.directory / "words").read_text().splitlines())

    def lines(self) -> list[str]:
        """What reached a shell besides our own constant text; the connections themselves get nothing."""
        programs = [path.read_text() for path in self.directory.glob("program.*") if path.stat().st_size]
        assert programs
        assert all(text.count(PROGRAM) == 1 for text in programs)
        return [line for text in programs for line in text.replace(PROGRAM, "\n").split("\n")]

    def strange(self) -> list[str]:
        return [line for line in self.lines() if LINES.fullmatch(line) is None]

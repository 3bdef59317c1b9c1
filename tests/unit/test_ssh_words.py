"""What reaches a shell on another host: our own text, and words of which none can be more than a word."""

import os
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_handlers.clients.hosts.answer import read_answer
from beamtime_handlers.clients.hosts.connection import Ssh
from beamtime_handlers.clients.hosts.script import PROGRAM, count_job, encoded, look_job, make_job
from beamtime_handlers.clients.hosts.trouble import user_name
from beamtime_handlers.create_directories import create_directories
from beamtime_ioc.model import Beamtime, Person, Place, Site
from beamtime_ioc.testing import FakeRun
from disk_house import EXPERIMENT, ZONE, marker_of
from recorder import LINES, Recorder
from ssh_house import SshHouse, program

HOSTILE: list[str] = [
    "x; touch PWNED; #",
    "$(touch PWNED)",
    "`touch PWNED`",
    "' && touch PWNED && '",
    '" ; touch PWNED ; "',
    "'\\''; touch PWNED; '\\''",
    "\\'; touch PWNED #",
    "x\ntouch PWNED\n",
    "x\r\ntouch PWNED",
    "\\0nn\\n; touch PWNED",
    "%b%s%n\\x41\\c",
    "-rf",
    "--",
    "-oProxyCommand=touch PWNED",
    "../../../PWNED",
    "/etc/PWNED",
    "~/PWNED",
    "*?[a-z]{a,b}",
    "$IFS$9&|<>()",
    "!!:s/x/y/",
    "O'Brien",
    "王 Łoś Straße",
    "\x1b]0;x\x07",
    "\x00",
    "\ud800",
    "a" * 5000,
    "",
]
TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=30)


@given(TEXTS)
def test_any_text_becomes_a_word_that_no_shell_can_take_for_more(text: str) -> None:
    word = f"'{encoded(text)}'"

    assert LINES.fullmatch(f"look {word}")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_a_shell_reads_of_a_word_is_the_text(shell: str) -> None:
    texts = [text for text in HOSTILE if "\0" not in text]
    script = "".join(f"printf '%b' '{encoded(text)}'; printf '\\000'\n" for text in texts)

    said = subprocess.run([program(shell), "-s"], input=script.encode(), capture_output=True, check=True)

    assert said.stdout.split(b"\0")[:-1] == [text.encode("utf-8", "replace") for text in texts]


@given(TEXTS, TEXTS, TEXTS)
def test_a_place_with_any_texts_gives_lines_of_known_form_alone(top: str, group: str, name: str) -> None:
    place = Place(name="det1", top=PurePosixPath("/", top), group=group, marker=name, host="det1")

    made, seen = make_job(place, (name,), "new"), look_job(place, [(name, top)], space=True)
    for job in (made, seen, count_job(place, (top,))):
        assert job.text.count(PROGRAM) == 1
        lines = job.text.replace(PROGRAM, "\n").split("\n")
        assert [line for line in lines if LINES.fullmatch(line) is None] == []


@given(st.binary(max_size=300))
def test_any_answer_can_be_read(output: bytes) -> None:
    lines = output.replace(b"\n", b"\nTOKEN ")

    for said in (
        output,
        b"TOKEN " + lines,
        b"TOKEN walk\nTOKEN level " + lines,
        b"TOKEN walk\nTOKEN free " + lines,
    ):
        answer = read_answer("TOKEN", said)

        assert all(len(level) == 6 for walk in answer.walks for level in walk.levels)
        assert all(int(level[0], 8) >= 0 for walk in answer.walks for level in walk.levels)


def test_the_command_itself_reads_alike_in_every_login_shell() -> None:
    limit = ("timeout", "-k", "2")
    ssh = Ssh(words=("ssh",), by_hand=(), limit=limit, connect_timeout_s=5, timeout_s=0.5, sessions=9)

    assert ssh.command(ssh.timeout_s) == "env LC_ALL=C timeout -k 2 0.5 sh -s"


def test_a_line_that_a_login_left_open_hides_nothing_of_the_answer(tmp_path: Path) -> None:
    place = Place(name="det1", top=PurePosixPath(tmp_path), host="det1")
    job = look_job(place, [()], space=False)
    words = f"printf 'last login: '\n{job.text}".encode()

    said = subprocess.run([program("sh"), "-s"], input=words, capture_output=True, check=True).stdout

    answer = read_answer(job.token, said)
    assert said.startswith(b"last login: ")
    assert (answer.processes, answer.me, answer.is_whole) == (str(os.getpgrp()), user_name(), True)


def test_a_program_that_was_cut_on_its_way_does_nothing(tmp_path: Path) -> None:
    place = Place(name="det1", top=PurePosixPath(tmp_path), host="det1")
    whole = make_job(place, ("made",), "bare").text
    for length in range(0, len(whole) - len("\nexit 0\n") - 1, 97):
        subprocess.run([program("sh"), "-s"], input=whole[:length].encode(), capture_output=True, check=False)

    assert list(tmp_path.iterdir()) == []
    subprocess.run([program("sh"), "-s"], input=whole.encode(), capture_output=True, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_link_that_comes_in_while_a_level_is_entered_leads_nowhere(tmp_path: Path, shell: str) -> None:
    top, away = tmp_path / "top", tmp_path / "away"
    for directory in (top / "level", away / "level"):
        directory.mkdir(parents=True)
    place = Place(name="det1", top=PurePosixPath(top), host="det1")
    job = make_job(place, ("level", "made"), "bare")
    # bash works PWD out, and changes then: so it stands when a link has come in between.
    late = (
        f'cd() {{ command cd "$@"; [ "$3" != ./level ] || '
        f"{{ command cd -P -- {away}/level; PWD={top}/level; }}; }}\n"
    )

    said = subprocess.run(
        [program(shell), "-s"], input=f"{late}{job.text}".encode(), capture_output=True, check=True
    ).stdout

    assert [walk.end for walk in read_answer(job.token, said).walks] == ["link"]
    assert list((away / "level").iterdir()) == []


def test_no_hostile_word_of_an_experiment_reaches_a_shell(
    ssh_servers: SshHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, top = Recorder(tmp_path / "recorded"), tmp_path / "top"
    top.mkdir()
    for name, text in recorder.environment().items():
        monkeypatch.setenv(name, text)
    place = ssh_servers.place(
        ssh_servers.det1,
        top,
        path="{cycle}/{pi}-{proposal}/{name}",
    )
    with ssh_servers.client(place) as hosts:
        site = Site(
            prefix="99bm:Beamtime:",
            beamline="99-BM",
            zone=ZONE,
            places=(place,),
            experiment_name="{pi}-{pi_first}-{proposal}-{beamtime}-{cycle}",
        )
        for number in range(0, len(HOSTILE), 3):
            last, proposal, cycle = HOSTILE[number : number + 3]
            person = Person(last_name=last, first_name=proposal, institution=cycle, badge=last, email=last)
            texts = {"proposal": proposal, "cycle": cycle, "title": last, "esaf": cycle, "esaf_doi": proposal}
            experiment = site.experiment(
                Beamtime(
                    source="aps",
                    id=str(number),
                    start=EXPERIMENT.start,
                    end=EXPERIMENT.end,
                    beamline=last,
                    people=(replace(person, is_pi=True), person),
                    **texts,
                )
            )
            run = FakeRun(site=site, services={"hosts": hosts})

            create_directories(run, experiment)

            directory = Path(place.path_for(experiment))
            assert directory.is_relative_to(top)
            assert marker_of(directory)["experiment"] == experiment.key

    assert recorder.strange() == []
    assert not [word for word in recorder.words() if "PWNED" in word]
    assert {word for word in recorder.words() if " " in word} <= {"env LC_ALL=C timeout -k 2 10 sh -s"}
    assert [path for path in tmp_path.rglob("*PWNED*") if not path.is_dir()] == []
    for where in (ssh_servers.det1.home, Path(pwd.getpwuid(os.getuid()).pw_dir), Path("/etc"), Path.cwd()):
        assert list(where.glob("*PWNED*")) == []

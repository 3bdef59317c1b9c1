"""`python -m chaos --actions 5000 --kills 5,40`: exit code 0 if nothing was lost and nothing doubled."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random, SystemRandom

from beamtime_ioc.journal import Journal, reading
from beamtime_ioc.tables import closings
from box_house import until
from chaos.count import Accepted, judge, read_world
from chaos.driver import Driver, Press
from chaos.lives import ChaosError, Kill, Lives
from chaos.pace import Pace
from chaos.report import Report
from chaos.site import PLACES, install, ioc_on, start_box

ENDS_S = 120.0
"""The longest wait for what is still open when no more is pressed and killed."""
TELL_S = 30.0


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Kill a working IOC; count in the box.")
    parser.add_argument("--actions", type=int, default=5000, metavar="N", help="how many (default 5000)")
    parser.add_argument(
        "--kills", type=_span, default=(5.0, 40.0), metavar="A,B", help="a kill each A to B s (5,40)"
    )
    parser.add_argument("--seed", type=int, help="of the times and the mixture; without it, a new one")
    parser.add_argument("--far", action="store_true", help="the places are on two hosts, over ssh")
    parser.add_argument(
        "--dir",
        type=Path,
        help="where box and state are kept; must not exist yet. Default: a new one, kept if it went wrong",
    )
    chosen = parser.parse_args(words)
    if chosen.dir is not None and chosen.dir.exists():
        parser.error(f"{chosen.dir} exists already")
    return chosen


def _span(text: str) -> tuple[float, float]:
    shortest, _, longest = text.partition(",")
    span = float(shortest), float(longest or shortest)
    if not 0 < span[0] <= span[1]:
        raise argparse.ArgumentTypeError("must be two numbers of seconds, such as 5,40")
    return span


def run(chosen: argparse.Namespace, seed: int, directory: Path) -> Report:
    """Press and kill, wait for all ends, end the IOC, and count.

    Raises
    ------
    ChaosError
        There is nothing to count: the IOC did not start.
    """
    began, trouble = time.monotonic(), ""
    with ExitStack() as ends:
        box = start_box(directory / "box", far=chosen.far)
        ends.callback(box.program.stop)
        ioc = ioc_on(box, install(directory / "site-package"))
        state = box.directory / "state"
        lives = Lives(ioc, state, chosen.kills, Random(f"kills {seed}"))
        driver = Driver(box, lives, Random(f"presses {seed}"), chosen.actions)
        ends.callback(ioc.stop)
        ends.callback(lives.finish)
        ends.callback(driver.close)
        lives.begin()
        pace, tell = Pace(box, lives, chosen.actions), _teller(chosen.actions, lives.kills)
        try:
            for done in driver.work():
                pace.follow(done)
                tell(done)
        except ChaosError as error:  # what was done until then is counted nevertheless
            trouble = str(error)
        lives.finish()
        with reading(state) as journal:
            left = _wait_until_empty(journal)
            accepted = [_written_down(journal, press) for press in driver.presses]
            closed = _closed(journal)
            unknown = {run.id for run in journal.last(10**9)} - {press.run_id for press in driver.presses}
    verdict = judge(accepted, read_world(box.directory, closed), PLACES)
    verdict.doubled += [f"run {run_id} stands in the history and nobody pressed it" for run_id in unknown]
    return Report(
        actions=accepted,
        verdict=verdict,
        kills=lives.kills,
        lost_answers=driver.lost_answers,
        left=left,
        trouble=trouble,
        state_bytes=sum(file.stat().st_size for file in state.rglob("*") if file.is_file()),
        seconds=time.monotonic() - began,
    )


def _wait_until_empty(journal: Journal) -> list[str]:
    """The runs that are open still; none, if all goes well."""
    with suppress(AssertionError):
        until(lambda: not journal.open(), deadline_s=ENDS_S)
    return [f"{run.action} {run.id} {run.state}" for run in journal.open()]


def _closed(journal: Journal) -> list[str]:
    """The keys of the experiments that were ended."""
    with journal.engine.connect() as db:
        return [row.key for row in db.execute(closings.select())]


def _written_down(journal: Journal, press: Press) -> Accepted:
    run = journal.run(press.run_id) if press.run_id else None
    return Accepted(
        kind=press.kind,
        number=press.number,
        ends=press.ends,
        run_id=run.id if run else "",
        state=run.state if run else None,
        message=run.message if run else "it was accepted, and is not written down",
    )


def _teller(wanted: int, kills: Sequence[Kill]) -> Callable[[int], None]:
    told = time.monotonic()

    def tell(done: int) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            print(f"{done} of {wanted} actions, {len(kills)} kills", file=sys.stderr, flush=True)

    return tell


def main() -> int:
    chosen = options()
    seed = SystemRandom().randrange(10**9) if chosen.seed is None else chosen.seed
    print(f"chaos: seed {seed} (again with --seed {seed})", flush=True)
    directory = chosen.dir or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(parents=True, exist_ok=chosen.dir is None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    try:
        report = run(chosen, seed, directory)
    except ChaosError as error:
        print(f"chaos: {error}; see {directory}/box/ioc.log")
        return 1
    keep = not report.good or chosen.dir is not None
    if not keep:
        shutil.rmtree(directory)
    report.show(seed, directory if keep else None)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())

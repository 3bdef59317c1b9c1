"""`python -m fuzz ca --seconds 300`: exit code 0 if it serves on, and no value and no memory changed."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random, SystemRandom

from fuzz.edits import edited, some_edits
from fuzz.real import DATAGRAMS, STREAMS
from fuzz.target import Target, throw, throw_datagram

LOOK_EVERY = 200
GROWTH_MB = 40.0
"""What tables and pools of both libraries come to; a leak of 1 kB in each throw would show."""
SLOW_S = 2.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description="Throw broken messages at a server.")
    parser.add_argument("protocol", choices=sorted(STREAMS), nargs="?", default="ca")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, help="of the changes; without it, a new one")
    return parser.parse_args()


def campaign(target: Target, protocol: str, seconds: float, random: Random) -> tuple[int, float, float]:
    """Throw for so long.

    Returns
    -------
    tuple
        Throws, growth of its memory in MB, and the slowest answer to others in s.

    Raises
    ------
    AssertionError
        It does not answer, or a value is another one.
    """
    port, search_port = (target.ca, target.ca) if protocol == "ca" else (target.pva_tcp, target.pva)
    stream, datagram = STREAMS[protocol](), DATAGRAMS[protocol]()
    throw(port, stream)
    before, thrown, first_mb, slowest_s = target.values(), 0, 0.0, 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if random.random() < 0.8:
            throw(port, edited(stream, some_edits(random)))
        else:
            throw_datagram(search_port, edited(datagram, some_edits(random)))
        thrown += 1
        if thrown % LOOK_EVERY == 0:
            slowest_s = max(slowest_s, target.check())
            assert target.values() == before, "a value changed"
            first_mb = first_mb or target.rss_mb
    slowest_s = max(slowest_s, target.check())
    assert target.values() == before, "a value changed"
    return thrown, target.rss_mb - (first_mb or target.rss_mb), slowest_s


def main() -> int:
    chosen = options()
    seed = SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    with (
        tempfile.TemporaryDirectory(prefix="beamtime-fuzz-") as kept,
        Target(Path(kept) / "server.log") as target,
    ):
        try:
            thrown, growth_mb, slowest_s = campaign(target, chosen.protocol, chosen.seconds, Random(seed))
        except (AssertionError, OSError) as error:
            print(f"{chosen.protocol}, seed {seed}: {error}\n{target.said()[-3000:]}", file=sys.stderr)
            return 1
        lines = target.said().count("\n")
    failed = growth_mb > GROWTH_MB or slowest_s > SLOW_S
    print(
        f"{chosen.protocol}, seed {seed}: {thrown} throws in {chosen.seconds:g} s, no value changed, "
        f"memory grew by {growth_mb:.1f} MB, slowest check {1e3 * slowest_s:.0f} ms, {lines} lines in the log"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

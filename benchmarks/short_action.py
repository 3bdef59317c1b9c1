"""An action of a few steps that needs no service; for a bench in which the services hang."""

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment


@action("bench-short", resource="bench")
def bench_short(run: Run, experiment: Experiment) -> None:
    for number in range(3):
        run.step(f"step {number}", lambda: experiment.key)

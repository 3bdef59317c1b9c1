"""An action of thousands of effects; for a bench that ends it long before."""

from functools import partial

from outside import EFFECTS, do

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment


@action("bench-long", resource="bench", needs_experiment=False)
def bench_long(run: Run, experiment: Experiment | None) -> None:
    for number in range(EFFECTS):
        run.effect(f"effect {number}", look=lambda: None, make=do, verify=partial(int, number))

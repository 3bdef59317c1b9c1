"""``python -m beamtime_sim`` is ``beamtime sim``."""

from beamtime_sim.command import app

app(prog_name="beamtime sim")

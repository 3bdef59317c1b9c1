"""`python -m beamtime_ioc` is the command `beamtime`."""

from beamtime_ioc.cli import main

main()

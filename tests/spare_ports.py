"""A port for whatever a test starts."""

from beamtime_sim.free_ports import free_ports


def spare_port() -> int:
    """A port that nobody has, for TCP and UDP, and that no connection and no other test gets meanwhile."""
    return free_ports(1)[0]

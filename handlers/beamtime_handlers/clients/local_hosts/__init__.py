"""Experiment directories on disks that this computer sees."""

from beamtime_handlers.clients.local_hosts.hosts import LocalHosts, Settings, build

__all__ = ["LocalHosts", "Settings", "build"]

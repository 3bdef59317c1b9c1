"""What a handler's author needs to test it without engine, network or EPICS, and under kill -9."""

from beamtime_ioc.testing.fakes import MemoryEsaf, MemoryIdentity, MemoryOutbox
from beamtime_ioc.testing.run import FakeRun

__all__ = ["FakeRun", "MemoryEsaf", "MemoryIdentity", "MemoryOutbox"]

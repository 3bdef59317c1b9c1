"""What can go wrong with the box itself, as sentences for the screen."""


class SimError(Exception):
    """The box cannot do what it was asked.

    SimError
    |-- BoxError       the box cannot start (PortTakenError), or does not run (NobodyAnswersError)
    |-- KnobError      a knob or a value that does not exist
    `-- ScheduleError  schedule data that cannot be served
    """


class BoxError(SimError):
    """The box cannot start, or does not run."""


class PortTakenError(BoxError):
    """Another process listens where this server should."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"port {port} on 127.0.0.1 is taken by another process")


class NobodyAnswersError(BoxError):
    """No box answers on the control port."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"no box answers on port {port} of 127.0.0.1")


class KnobError(SimError):
    """A knob or a value that does not exist; nothing was set."""


class ScheduleError(SimError):
    """Schedule data that cannot be served."""

"""Every error of the project: one tree, one root.

BeamtimeError
    LineError                                         a line of a file of the site is wrong
        SiteFileError, RecordFileError, AccessFileError
    StateError                                        the state directory or database cannot be used
        NameTakenError                                another process works under our name
        AuditError                                    the audit in it cannot be written or read
    PortTakenError                                    a port that was asked for is in use
    RefusedError                                      a press or a put is refused
        NotAllowedError, BusyError, BadValueError, NotReadyError
        NoExperimentError                             an action needs a current experiment
        ExperimentClosedError                         its beamtime was ended
    RunEndedError                                     a run that was waited for did not end well
    NoAnswerError                                     no IOC answers for a name
    DemoError                                         the demo did not come to its end
    ServiceError                                      a service outside
        ServiceUnavailableError, ServiceDeniedError, BadResponseError
        DefinitelyRefusedError, DeferredError
    ScheduleError                                     the schedule names nobody, or several
        NobodyOnBeamError, SeveralOnBeamError, NoCycleError
        ChooseByIdError                               this schedule never says who is on beam
        WrongProposalError                            a proposal that was chosen is not for this beamline
        NotFoundError                                 a number is not where it was looked for
    ScheduleStaleError                                there is only an earlier answer of it
    NoScheduleError                                   a step has nothing to go on with without it
    NoFormError                                       the people of a safety form cannot be asked for
    EffectError                                       an effect does not stand
        ConflictError, NotVerifiedError, PlaceError, OutcomeUnknownError
    StepFailedError, EffectsFailedError               what a handler sees of a failed step
    NotJsonError                                      a value that cannot be written down

`Cancelled`, `Kept` and `Stopping` stand outside: they are no failures, and no handler may catch them.
"""

from collections.abc import Sequence
from pathlib import Path

from beamtime_ioc.advice import together


class BeamtimeError(Exception):
    """What went wrong, and what to do next.

    Parameters
    ----------
    sentence
        What, and where; for the screen.
    advice
        What the person who reads it does next.
    """

    def __init__(self, sentence: str, *, advice: str = "") -> None:
        self.sentence, self.advice = sentence, advice
        super().__init__(f"{sentence}; {advice}" if advice else sentence)


class LineError(BeamtimeError):
    """A line of a file is wrong."""

    def __init__(self, path: Path | str, line: int, text: str) -> None:
        self.path, self.line, self.text = Path(path), line, text
        super().__init__(f"{path}:{line}: {text}" if line else f"{path}: {text}")


class SiteFileError(LineError):
    """The site file has a wrong key, type or value."""


class RecordFileError(LineError):
    """A record file cannot be read, or declares what is not served here."""


class AccessFileError(LineError):
    """The access file cannot be used."""


class StateError(BeamtimeError):
    """The state directory cannot be used."""


class NameTakenError(StateError):
    """Another process works under this executor's name, or its connection has not been given up yet."""


class AuditError(StateError):
    """The audit cannot be written or read."""


class PortTakenError(BeamtimeError):
    """A port that was asked for is in use."""

    def __init__(self, protocol: str, port: int, setting: str) -> None:
        self.protocol, self.port = protocol, port
        super().__init__(
            f"{protocol} port {port} is in use", advice=f"end the other server, or change {setting}"
        )


class RefusedError(BeamtimeError):
    """A press or a put is refused; nothing was changed."""


class NotAllowedError(RefusedError):
    """The access file does not let this caller do it."""


class BusyError(RefusedError):
    """Another run is in the way."""


class BadValueError(RefusedError):
    """A value does not fit its record."""


class NotReadyError(RefusedError):
    """The engine starts, stops, or has failed."""


class RunEndedError(BeamtimeError):
    """A run that was waited for ended Failed, Unsure, Aborted or Stuck."""

    def __init__(self, state: str, message: str) -> None:
        self.state = state
        super().__init__(f"{state}: {message}")


class NoAnswerError(BeamtimeError):
    """No IOC answers for a name."""

    def __init__(self, name: str, waited_s: float) -> None:
        self.name = name
        super().__init__(
            f"{name} did not answer within {waited_s:g} s",
            advice="check the prefix, that the IOC runs, and EPICS_PVA_ADDR_LIST; or use --site",
        )


class DemoError(BeamtimeError):
    """The demo did not come to its end."""


class ServiceError(BeamtimeError):
    """A service outside did not do what was asked."""


class ServiceUnavailableError(ServiceError):
    """A service outside did not answer."""

    def __init__(self, service: str, reason: str) -> None:
        self.service, self.reason = service, reason
        super().__init__(f"{service} {reason}", advice="press again when it is back; what stands is kept")


class ServiceDeniedError(ServiceError):
    """A service outside does not accept our credentials."""


class WrongPasswordError(ServiceDeniedError):
    """Whose account may be locked if the same password comes again and again: only a press tries it again."""


class BadResponseError(ServiceError):
    """A service outside answered what its interface does not foresee."""


class DefinitelyRefusedError(ServiceError):
    """A service outside will never accept this one, such as a closed mailbox."""


class DeferredError(ServiceError):
    """A service outside asks to try this one again later."""


class ScheduleError(BeamtimeError):
    """The schedule does not name one beamtime."""


class NobodyOnBeamError(ScheduleError):
    """No user beamtime is active at this moment."""


class SeveralOnBeamError(ScheduleError):
    """Several beamtimes are active at this moment."""


class NoCycleError(ScheduleError):
    """The moment lies in no run cycle of the facility."""


class ChooseByIdError(NobodyOnBeamError):
    """This kind of schedule knows proposals, and not who is on beam when."""


class WrongProposalError(ScheduleError):
    """A proposal that was asked for by its number does not belong to this beamline or cycle."""


class NotFoundError(ScheduleError):
    """A beamtime was looked for by its number, and not everywhere: the sentence says where."""


class ScheduleStaleError(BeamtimeError):
    """The schedule cannot be asked; what it said earlier is kept, and changes nothing by itself."""


class NoScheduleError(BeamtimeError):
    """A step that may go on without the schedule has nothing to go on with."""


class NoFormError(BeamtimeError):
    """A safety form cannot be read; it goes on with the people who are known without it."""


class EffectError(BeamtimeError):
    """An effect does not stand."""


class ConflictError(EffectError):
    """What should be made stands already and belongs to another."""


class NotVerifiedError(EffectError):
    """An effect was made, and does not hold when read back."""

    def __init__(self, what: str, *, wanted: object, found: object, advice: str = "") -> None:
        self.wanted, self.found = wanted, found
        super().__init__(
            f"{what}: wanted {wanted}, found {found}", advice=advice or "look at it, then press again"
        )


class PlaceError(EffectError):
    """A place cannot take the experiment's directory.

    Parameters
    ----------
    state
        NO_TOPDIR, NO_SPACE, DENIED, NOT_A_DIRECTORY, NOT_MOUNTED, BAD_NAME, UNREACHABLE or TIMEOUT.
    """

    def __init__(self, state: str, sentence: str, *, advice: str) -> None:
        self.state = state
        super().__init__(sentence, advice=advice)


class OutcomeUnknownError(EffectError):
    """It may or may not have happened, and is not repeated by itself.

    Parameters
    ----------
    claim
        Key of the outbox row that holds it, if there is one: an operator's answer settles that row too.
    """

    def __init__(self, sentence: str, *, advice: str = "", claim: str = "") -> None:
        super().__init__(sentence, advice=advice)
        self.claim = claim


class NoExperimentError(RefusedError):
    """There is no current experiment."""

    def __init__(self) -> None:
        super().__init__("there is no current experiment", advice="press UpdateUserInfo first")


class ExperimentClosedError(RefusedError):
    """The beamtime of an experiment was ended: nothing is made, sent or corrected for it any more."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is closed: its beamtime was ended",
            advice="press BeginBeamtime for the next one; if something is missing, type the name into "
            "ReopenExperimentArm and press ReopenExperiment",
        )


class StepFailedError(BeamtimeError):
    """A step of a run failed; the same on the first run and on a replay.

    Attributes
    ----------
    step
        Title of the step.
    kind
        Name of the error's class, for programs.
    """

    def __init__(self, step: str, kind: str, sentence: str, advice: str = "") -> None:
        self.step, self.kind = step, kind
        super().__init__(sentence, advice=advice)


class EffectsFailedError(BeamtimeError):
    """Some of several effects failed; all were tried.

    Attributes
    ----------
    failures
        One per failed effect, in the order of the effects.
    """

    def __init__(self, failures: Sequence[StepFailedError], total: int) -> None:
        self.failures, self.total = tuple(failures), total
        steps: dict[str, list[str]] = {}
        for failure in failures:  # a relay that is down is one cause, however many letters wait for it
            steps.setdefault(failure.sentence, []).append(failure.step)
        sentences = "; ".join(f"{', '.join(names)}: {sentence}" for sentence, names in steps.items())
        done = total - len(failures)
        rest = "" if total == 1 else f" ({done} of {total} are done)" if done else " (none is done)"
        super().__init__(sentences + rest, advice=together(failure.advice for failure in failures))


class NotJsonError(BeamtimeError):
    """A value of a handler cannot be written down as JSON."""

    def __init__(self, where: str, value: object) -> None:
        super().__init__(
            f"{where}: a {type(value).__name__} cannot be stored",
            advice="return and pass only None, true, false, numbers, text, lists and mappings with text keys",
        )


class Cancelled(BaseException):
    """The run was aborted by an operator."""


class Kept(BaseException):
    """The run cannot go on now, and has not ended: it stays written down as it is.

    Parameters
    ----------
    sentence
        Why, and what to do next.
    by_itself
        Whether it can go on as soon as the state database can be written again; else somebody decides.
    """

    def __init__(self, sentence: str, *, by_itself: bool) -> None:
        super().__init__(sentence)
        self.sentence, self.by_itself = sentence, by_itself


def kept_for(error: StateError) -> Kept:
    """Our own memory is away: nothing has failed, and nobody has to press again."""
    return Kept(
        f"{error.sentence}; make room on its disk, or see to its host; it goes on by itself", by_itself=True
    )


class Stopping(BaseException):
    """The program ends; the run goes on at the next start."""

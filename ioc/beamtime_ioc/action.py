"""All that a handler is given: `@action`, `Run` and `Effect`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from beamtime_ioc.errors import ExperimentClosedError
from beamtime_ioc.model import Experiment, Json, Site

P = TypeVar("P")


class Unknown:
    """The value of a step whose outcome cannot be known; it is false."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Effect:
    """Something that shall stand in the world: look, make unless it stands, verify.

    Parameters
    ----------
    title
        One line for the checklist: what, and where.
    look
        Reads only. None: absent, or half made so that `make` can finish it. A JSON value: it
        stands. Raises `ConflictError` when it stands and belongs to another.
    make
        Makes it stand. Called again after a crash only when `look` gave None.
    verify
        Reads it back and returns what it read; raises `NotVerifiedError` when it does not hold.
    retries
        How often `make` is tried again when the service asks for it (`DeferredError`) or is away.
    detail
        What a preview says behind the title, of what `look` has found.
    """

    title: str
    look: Callable[[], Json]
    make: Callable[[], object]
    verify: Callable[[], Json]
    retries: int = 0
    detail: Callable[[Json], str] | None = None


class Run(Protocol):
    """One press from its beginning to its end, as a handler sees it.

    The same calls must come in the same order when a run is repeated after a crash: branch only
    on the arguments and on what these methods return.
    """

    @property
    def id(self) -> str: ...

    @property
    def pressed(self) -> str:
        """Name of the action that was pressed; inside a called action that of its caller."""
        ...

    @property
    def site(self) -> Site: ...

    @property
    def preview(self) -> bool:
        """True while only a plan is made: `effect` then returns what `look` found, or None."""
        ...

    def effect(
        self,
        title: str,
        *,
        look: Callable[[], Json],
        make: Callable[[], object],
        verify: Callable[[], Json],
        retries: int = 0,
    ) -> Any:
        """Make one effect stand, and return what was read back, or `UNKNOWN`.

        Raises
        ------
        StepFailedError
            It does not stand; the same on a replay.
        """
        ...

    def effects(self, effects: Sequence[Effect], *, at_once: int = 1, optional: bool = False) -> list[Any]:
        """Make several effects stand, as one step; every one is tried.

        Parameters
        ----------
        at_once
            How many may be worked on at the same time.
        optional
            A failure is then a problem of the run (it ends `Problems`) as long as one effect stands.

        Returns
        -------
        list
            What was read back, in the order of `effects`; None for one that failed, `UNKNOWN` for
            one that cannot be known.

        Raises
        ------
        EffectsFailedError
            Lists all that failed.
        """
        ...

    def step(self, title: str, read: Callable[[], Json], *, retries: int = 0, optional: bool = False) -> Any:
        """Read something whose answer must survive a crash, such as who is on beam now.

        Parameters
        ----------
        optional
            A failure is then a problem of the run (it ends `Problems`), and what is read is None.
        """
        ...

    def once(self, title: str, write: Callable[[], Json]) -> Any:
        """Do what can neither be looked up nor recorded beforehand: at most once, or `UNKNOWN`."""
        ...

    def progress(self, fraction: float, text: str = "") -> None:
        """Show how far the run is, 0 to 1; the last text is the message of its end.

        Inside a called action only the text is shown: how far the whole is, the caller says.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run is aborted or the program ends. Not remembered after a crash."""
        ...

    def call(self, action: str, *, experiment: Experiment | None, **arguments: Json) -> Any:
        """Run another action inside this one, and return what its handler returns."""
        ...

    def about(self, experiment: Experiment) -> None:
        """Say whom the run is for, where only its work finds that out: history and audit name it so."""
        ...

    def hold(self, title: str, reason: str) -> None:
        """Say in the checklist what is not done now, and why."""
        ...

    def service(self, port: type[P]) -> P:
        """The client for a port: `Hosts` is what the section `hosts` of the site file configures."""
        ...

    def find_service(self, port: type[P]) -> P | None:
        """The same for a port that a site may do without: None where it has no such section."""
        ...


Handler = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Action:
    """A handler with its name and its place in the line."""

    name: str
    resource: str
    exclusive: bool
    needs_experiment: bool
    handler: Handler
    queue: str = ""
    irreversible: bool = False
    schedule_steps: tuple[str, ...] = ()
    armed: bool = False
    on_closed: bool = False

    @property
    def needs_arm(self) -> bool:
        """Whether a press needs the second step."""
        return self.irreversible or self.armed

    def require_open(self, experiment: Experiment | None) -> None:
        """See that the experiment is not closed, unless the action may work on such a one.

        Raises
        ------
        ExperimentClosedError
        """
        if experiment is not None and not experiment.open and self.needs_experiment and not self.on_closed:
            raise ExperimentClosedError(experiment.name)

    def __call__(self, run: Run, experiment: Experiment | None, **arguments: Json) -> Any:
        return self.handler(run, experiment, **arguments)


def action(
    name: str,
    *,
    resource: str,
    exclusive: bool = False,
    needs_experiment: bool = True,
    queue: str = "",
    irreversible: bool = False,
    schedule_steps: tuple[str, ...] = (),
    armed: bool = False,
    on_closed: bool = False,
) -> Callable[[Handler], Action]:
    """Make a plain function the handler of a button.

    Parameters
    ----------
    name
        As in the records: `create-directories`.
    resource
        Actions of one resource run one after another, those of different resources side by side.
    exclusive
        Refused while any other action is queued or running, and holds all others off. For what
        changes whose experiment it is.
    needs_experiment
        Without a current experiment the press is refused; otherwise the handler may get None.
    queue
        Empty: the IOC itself does the work. A name: with PostgreSQL, the workers of that queue do it, on
        other hosts (`beamtime worker SITE.yaml --queue NAME`). All actions of a resource have one queue.
    irreversible
        What it does cannot be undone: a press needs a second step, the experiment's name typed into
        `<Action>Arm` (`arm.template`). It needs an experiment.
    schedule_steps
        The steps that ask the schedule, those of called actions too: `without_schedule` of the site file
        says of each whether it may go on without it.
    armed
        It can be undone, and a press needs that second step all the same.
    on_closed
        May be pressed, and called, for an experiment whose beamtime was ended. Others that need an experiment
        are refused then.
    """

    def decorate(handler: Handler) -> Action:
        return Action(
            name=name,
            resource=resource,
            exclusive=exclusive,
            needs_experiment=needs_experiment,
            handler=handler,
            queue=queue,
            irreversible=irreversible,
            schedule_steps=schedule_steps,
            armed=armed,
            on_closed=on_closed,
        )

    return decorate

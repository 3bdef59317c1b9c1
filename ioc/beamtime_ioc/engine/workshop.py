"""All that a run is made with, and the words for what is not there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from beamtime_ioc.action import Action
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Experiment, Site, one_line
from beamtime_ioc.ports import Services

P = TypeVar("P")


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """All that a run is made with: the actions, the clients, the site."""

    actions: Mapping[str, Action]
    services: Services
    site: Site

    def service(self, port: type[P]) -> P:
        """The client of a port, by the port's name in small letters."""
        if (client := self.find_service(port)) is None:
            section = port.__name__.lower()
            raise BeamtimeError(
                f"no {section} is configured", advice=f"add a section {section}: to the site file"
            )
        return client

    def find_service(self, port: type[P]) -> P | None:
        """The same, or None where the site has none."""
        return cast(P | None, self.services.get(port.__name__.lower()))

    def action(self, name: str) -> Action:
        if name not in self.actions:
            raise BeamtimeError(f"there is no action {name}", advice="install the package that has it")
        return self.actions[name]

    def called(self, name: str, pressed: str, experiment: Experiment | None) -> Action:
        """An action that another one calls for an experiment.

        What has to be armed is called only by what was armed.

        Raises
        ------
        ExperimentClosedError
            It does not work on a closed experiment, as this one is.
        """
        called, by = self.action(name), self.actions.get(pressed)
        if called.needs_arm and by is not None and not by.needs_arm:
            why = "cannot be undone" if called.irreversible else "has to be armed"
            word = "irreversible" if called.irreversible else "armed"
            raise BeamtimeError(
                f"{name} {why}, and {pressed} calls it without being armed",
                advice=f"declare {pressed} with @action(..., {word}=True)",
            )
        called.require_open(experiment)
        return called


def fault(where: str, error: Exception) -> tuple[str, str]:
    """The sentence and the advice for an error that no handler foresaw."""
    try:
        text = one_line(str(error), 200)
    except Exception as unprintable:  # whoever wrote it badly, the run ends with a sentence
        text = f"its text cannot be printed ({type(unprintable).__name__})"
    return (
        f"{where}: fault of the program: {type(error).__name__}: {text}",
        "show the log of this run to its author",
    )

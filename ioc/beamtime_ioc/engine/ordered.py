"""What every run of an order has, whether it works or only plans."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from beamtime_ioc.action import Effect
from beamtime_ioc.engine.engine import Order
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.model import Json, Site

P = TypeVar("P")


class OrderedRun(ABC):
    """The words of `Run` that ask only the order and the workshop."""

    def __init__(self, order: Order, workshop: Workshop) -> None:
        self.order, self.workshop = order, workshop

    @property
    def id(self) -> str:
        return self.order.id

    @property
    def pressed(self) -> str:
        return self.order.action

    @property
    def site(self) -> Site:
        return self.workshop.site

    def service(self, port: type[P]) -> P:
        return self.workshop.service(port)

    def find_service(self, port: type[P]) -> P | None:
        return self.workshop.find_service(port)

    def effect(
        self,
        title: str,
        *,
        look: Callable[[], Json],
        make: Callable[[], object],
        verify: Callable[[], Json],
        retries: int = 0,
    ) -> Any:
        return self.effects([Effect(title, look=look, make=make, verify=verify, retries=retries)])[0]

    @abstractmethod
    def effects(
        self, effects: Sequence[Effect], *, at_once: int = 1, optional: bool = False
    ) -> list[Any]: ...

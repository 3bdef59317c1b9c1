"""What every server of the box is to who runs it: started, stopped, or both by a ``with``."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Server(ABC):
    """Listens between `start` and `stop`, or inside of a ``with``."""

    @abstractmethod
    def start(self) -> None:
        """Listen and answer.

        Raises
        ------
        BoxError
            It cannot: another process has the port, mostly.
        """

    @abstractmethod
    def stop(self) -> None:
        """Close the port and every connection, also those that hang."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

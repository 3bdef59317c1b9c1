"""What a name means on Channel Access, and who watches it."""
# pyright: basic

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from caproto import ChannelType, SubscriptionType

from beamtime_ioc.board import Board, Cell
from beamtime_ioc.errors import NotAllowedError
from beamtime_ioc.faces.ca_fields import Field, field_of
from beamtime_ioc.faces.ca_values import STRUCTURES, CannotShowError, encode, encode_metadata, native_of
from beamtime_ioc.model import Who
from beamtime_ioc.posting import Reading

log = logging.getLogger(__name__)

KEPT = 16
_VALUES = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_LOG


@dataclass(eq=False, kw_only=True)
class Subscription:
    """A client's wish to hear of a channel's changes.

    Parameters
    ----------
    post
        Tells the client of the latest reading.
    """

    post: Callable[["Subscription"], None]
    channel: "Channel"
    sid: int
    id: int
    kind: ChannelType
    count: int
    mask: int

    def wants(self, *, alarm_changed: bool) -> bool:
        return bool(self.mask & _VALUES) or (alarm_changed and bool(self.mask & SubscriptionType.DBE_ALARM))


class Channel:
    """One value or field of a record, ready for any type that is asked for.

    Attributes
    ----------
    puts
        `value`, `process` or `no`: what a put means.
    """

    def __init__(self, cell: Cell, field: Field, field_name: str) -> None:
        self.cell, self.field, self._field_name = cell, field, field_name
        self.puts = {"": "value", "PROC": "process"}.get(field_name, "no")
        self.record = cell.record
        self.subscriptions: set[Subscription] = set()
        self._encoded: dict[tuple[int, int], bytes] = {}
        self._reading: Reading[Any] | None = None
        self._seen: Reading[Any] = cell.reading

    @property
    def name(self) -> str:
        """The record's, with the field behind a dot."""
        return self.cell.name if self.puts == "value" else f"{self.cell.name}.{self._field_name}"

    def writable_by(self, who: Who) -> bool:
        """What is announced to a client: a courtesy, each put is asked about again."""
        if not (self.puts == "process" or (self.puts == "value" and self.cell.writable)):
            return False
        try:
            self.cell.gate.require(self.record.asg, who)
        except NotAllowedError:
            return False
        return True

    def payload(self, kind: ChannelType, count: int) -> bytes:
        """The latest reading as one DBR type.

        Parameters
        ----------
        count
            Elements; 0 for all.

        Raises
        ------
        CannotShowError
        """
        reading = self.cell.reading
        if reading is not self._reading:
            self._encoded.clear()
            self._reading = reading
        key = (kind, count)
        if key not in self._encoded:
            if len(self._encoded) >= KEPT:  # somebody asks for every count there is
                self._encoded.clear()
            self._encoded[key] = self._encode(reading, kind, count or self.field.count)
        return self._encoded[key]

    def _encode(self, reading: Reading[Any], kind: ChannelType, count: int) -> bytes:
        value = self.field.show(reading)
        if kind <= ChannelType.DOUBLE:
            return encode(value, self.field, self.record, kind, count)
        if kind <= ChannelType.CTRL_DOUBLE:
            elements = encode(value, self.field, self.record, native_of(kind), count)
            return encode_metadata(kind, self.field, self.record, reading) + elements
        if kind is ChannelType.CLASS_NAME:
            return self.record.type.encode().ljust(40, b"\0")
        if kind is not ChannelType.STSACK_STRING:
            raise CannotShowError
        alarm: Any = STRUCTURES[kind]()
        alarm.status, alarm.severity = int(reading.alarm.status), int(reading.alarm.severity)
        alarm.ackt = 1
        alarm.value = encode(value, self.field, self.record, ChannelType.STRING, 1)[:40].rstrip(b"\0")
        return bytes(alarm)

    def subscribe(self, subscription: Subscription) -> None:
        if not self.subscriptions:
            self._seen = self.cell.reading
            self.cell.watchers.append(self._post)
        self.subscriptions.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        self.subscriptions.discard(subscription)
        if not self.subscriptions and self._post in self.cell.watchers:
            self.cell.watchers.remove(self._post)

    def _post(self, reading: Reading[Any]) -> None:
        before, self._seen = self._seen, reading
        is_value = self.puts == "value"
        if not is_value and self.field.show(before) == self.field.show(reading):
            return
        alarm_changed = before.alarm != reading.alarm
        for subscription in tuple(self.subscriptions):
            if subscription.wants(alarm_changed=alarm_changed):
                try:
                    subscription.post(subscription)
                except Exception:  # whoever set the value must not suffer from it
                    log.exception("%s cannot be shown over CA", self.name)


class Channels:
    """Finds the channel of a name; remembers only names that exist."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._found: dict[tuple[str, str, bool], Channel] = {}

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._found.values())

    def find(self, name: str) -> Channel | None:
        """The channel of `X`, `X.`, `X.VAL`, `X.DESC$`; None when it is not ours."""
        long_string = name.endswith("$")
        base, _, field_name = name.removesuffix("$").partition(".")
        base = self._board.aliases.get(base, base)
        cell = self._board.cells.get(base)
        if cell is None:
            return None
        key = (base, "" if field_name == "VAL" else field_name, long_string)
        channel = self._found.get(key)
        if channel is None:
            field = field_of(cell.record, field_name)
            if field is not None and long_string:
                field = field.long_string()
            if field is None:
                return None
            channel = self._found[key] = Channel(cell, field, key[1])
        return channel

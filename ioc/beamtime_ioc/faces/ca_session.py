"""What one Channel Access client has open, and what it asks."""
# pyright: basic

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import caproto as ca
from caproto import AccessRights, CAStatus, ChannelType

from beamtime_ioc.board import Cell, Ending
from beamtime_ioc.errors import NotAllowedError, RefusedError, RunEndedError
from beamtime_ioc.faces.ca_channels import Channel, Subscription
from beamtime_ioc.faces.ca_circuit import Circuit
from beamtime_ioc.faces.ca_surroundings import Surroundings
from beamtime_ioc.faces.ca_values import CannotShowError, decode_put, size_of, with_elements
from beamtime_ioc.faces.puts import accept, log_refusal, waits_for_end
from beamtime_ioc.model import Who, one_line

EVENT_ADD, READ, READ_NOTIFY = 1, 3, 15
VERSION = ca.DEFAULT_PROTOCOL_VERSION


@dataclass
class OpenChannel:
    """A channel as one client has it open."""

    channel: Channel
    cid: int
    writable: bool = False
    """As the client was last told."""
    subscriptions: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Put:
    """A client's put, until it is answered."""

    message: Any
    cid: int
    who: Who

    @property
    def waits(self) -> bool:
        return isinstance(self.message, ca.WriteNotifyRequest)


class Session:
    """One client: its names as it claims them, its channels and its subscriptions."""

    def __init__(self, circuit: Circuit, surroundings: Surroundings) -> None:
        self._circuit, self._surroundings = circuit, surroundings
        self._user = self._host = ""
        self._channels: dict[int, OpenChannel] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._next_sid = 0
        self._events_on = True
        self._late: dict[int, Subscription] = {}

    @property
    def _who(self) -> Who:
        return Who(via="ca", user=self._user, peer=self._circuit.peer, claim=self._host)

    @property
    def open_channels(self) -> int:
        return len(self._channels)

    def end(self) -> None:
        for subscription in self._subscriptions.values():
            subscription.channel.unsubscribe(subscription)
        self._subscriptions.clear()
        self._channels.clear()
        self._late.clear()

    def handle(self, message: Any) -> None:
        """Do what the client asks.

        Raises
        ------
        Exception
            Whatever nonsense leads to: an unknown number, an impossible type.
        """
        handler = HANDLERS.get(type(message))
        if handler is not None:
            handler(self, message)

    def _send(self, message: Any) -> None:
        self._circuit.send(bytes(message))

    def _greet(self, message: Any) -> None:
        self._send(ca.VersionResponse(VERSION))

    def _name_user(self, message: Any) -> None:
        self._user = one_line(message.name, 40)
        for sid in self._channels:
            self._announce_rights(sid)

    def _name_host(self, message: Any) -> None:
        self._host = one_line(message.name, 60)

    def _echo(self, message: Any) -> None:
        self._send(ca.EchoResponse())

    def _search(self, message: Any) -> None:
        if self._surroundings.channels.find(message.name) is not None:
            self._send(ca.SearchResponse(self._surroundings.tcp_port(), None, message.cid, VERSION))
        elif message.reply == ca.DO_REPLY:
            self._send(ca.NotFoundResponse(VERSION, message.cid))

    # -- channels -----------------------------------------------------------------------------

    def _open(self, message: Any) -> None:
        channel = self._surroundings.channels.find(message.name)
        if channel is None:
            self._send(ca.CreateChFailResponse(message.cid))
            return
        sid, self._next_sid = self._next_sid, self._next_sid + 1
        self._channels[sid] = OpenChannel(channel, message.cid)
        self._announce_rights(sid)
        self._send(ca.CreateChanResponse(channel.field.native, channel.field.count, message.cid, sid))

    def _announce_rights(self, sid: int) -> None:
        opened = self._channels[sid]
        opened.writable = opened.channel.writable_by(self._who)
        rights = AccessRights.READ | (AccessRights.WRITE if opened.writable else 0)
        self._send(ca.AccessRightsResponse(opened.cid, rights))

    def announce_new_rights(self) -> None:
        """Tell the client of each channel that it may write now and might not before, or the reverse."""
        for sid, opened in self._channels.items():
            if opened.writable != opened.channel.writable_by(self._who):
                self._announce_rights(sid)

    def _close(self, message: Any) -> None:
        for number in self._channels.pop(message.sid).subscriptions:
            self._drop(number)
        self._send(ca.ClearChannelResponse(message.sid, message.cid))

    def _refuse(self, message: Any, status: CAStatus, words: str) -> None:
        opened = self._channels[message.sid]
        self._send(
            ca.ErrorResponse(message, opened.cid, status, _c_string(f"{opened.channel.name}: {words}"))
        )

    def _refuse_count(self, message: Any) -> None:
        count = self._channels[message.sid].channel.field.count
        self._refuse(message, CAStatus.ECA_BADCOUNT, f"it has {count} elements")

    def _read(self, message: Any) -> None:
        opened = self._channels[message.sid]
        channel, kind, count = opened.channel, message.data_type, message.data_count
        if count > channel.field.count:
            self._refuse_count(message)
            return
        status, payload = _elements(channel, kind, count)
        count = count or channel.field.count
        if isinstance(message, ca.ReadNotifyRequest):
            self._circuit.send(with_elements(READ_NOTIFY, kind, count, status, message.ioid, payload))
        elif status == _code(CAStatus.ECA_NORMAL):
            self._circuit.send(with_elements(READ, kind, count, opened.cid, message.ioid, payload))
        else:
            self._refuse(message, CAStatus.ECA_GETFAIL, f"it has no value of type {kind.name}")

    # -- subscriptions ------------------------------------------------------------------------

    def _subscribe(self, message: Any) -> None:
        opened = self._channels[message.sid]
        if message.subscriptionid in self._subscriptions:
            words = f"there is a subscription {message.subscriptionid} already"
            self._refuse(message, CAStatus.ECA_BADCOUNT, words)
            return
        if message.data_count > opened.channel.field.count:
            self._refuse_count(message)
            return
        subscription = Subscription(
            post=self.post,
            channel=opened.channel,
            sid=message.sid,
            id=message.subscriptionid,
            kind=message.data_type,
            count=message.data_count,
            mask=message.mask,
        )
        self._subscriptions[subscription.id] = subscription
        opened.subscriptions.add(subscription.id)
        opened.channel.subscribe(subscription)
        self.post(subscription)

    def post(self, subscription: Subscription) -> None:
        """Tell the client of the latest reading, now or when it listens again."""
        if not (self._events_on and self._circuit.listening):
            self._late[subscription.id] = subscription
            return
        status, payload = _elements(subscription.channel, subscription.kind, subscription.count)
        count = subscription.count or subscription.channel.field.count
        event = with_elements(EVENT_ADD, subscription.kind, count, status, subscription.id, payload)
        self._circuit.send(event)

    def post_late(self) -> None:
        """The client listens again: the latest of each channel that changed."""
        if self._events_on and self._circuit.listening:
            late, self._late = self._late, {}
            for subscription in late.values():
                self.post(subscription)

    def _unsubscribe(self, message: Any) -> None:
        subscription = self._subscriptions[message.subscriptionid]
        self._channels[subscription.sid].subscriptions.discard(subscription.id)
        self._drop(subscription.id)
        # An event without elements says that it was the last.
        self._circuit.send(
            with_elements(EVENT_ADD, subscription.kind, 0, subscription.sid, subscription.id, b"")
        )

    def _drop(self, number: int) -> None:
        subscription = self._subscriptions.pop(number)
        self._late.pop(number, None)
        subscription.channel.unsubscribe(subscription)

    def _events_off(self, message: Any) -> None:
        self._events_on = False

    def _resume_events(self, message: Any) -> None:
        self._events_on = True
        self.post_late()

    # -- puts ---------------------------------------------------------------------------------

    def _write(self, message: Any) -> None:
        opened = self._channels[message.sid]
        channel, cell = opened.channel, opened.channel.cell
        who = self._who
        put, kind = Put(message, opened.cid, who), ChannelType(message.data_type)
        if kind in (ChannelType.PUT_ACKT, ChannelType.PUT_ACKS):  # acknowledged alarms are not kept here
            self._answer(put)
            return
        try:
            if channel.puts == "no":
                raise RefusedError(f"{channel.name} is read only", advice="read it")
            if channel.puts == "process":
                cell.gate.require(channel.record.asg, who)
                self._answer(put)
                return
            value, caution = decode_put(kind, message.data_count, bytes(message.buffers[1]), channel.field)
        except RefusedError as error:
            log_refusal(channel.name, "", who, error)
            if channel.puts == "value":
                cell.refuse("?", who, error)
            self._answer(put, error)
            return
        accepting = accept(cell, value, who, caution)
        if cell.hook is None:
            self._answer(put, _run_at_once(accepting))
            return
        task = self._surroundings.keep(accepting)
        task.add_done_callback(lambda done: self._accepted(put, cell, done))
        self._circuit.hold(task)

    def _accepted(self, put: Put, cell: Cell, task: asyncio.Task[Ending | None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        ending = None if error else task.result()
        if ending is not None and waits_for_end(cell, client_waits=put.waits):
            self._surroundings.keep(self._answer_at_the_end(put, ending))
        else:
            self._answer(put, error)

    async def _answer_at_the_end(self, put: Put, ending: Ending) -> None:
        try:
            await ending
        except RunEndedError as error:
            self._answer(put, error)
        else:
            self._answer(put)

    def _answer(self, put: Put, error: BaseException | None = None) -> None:
        """As in C: a client that waits gets the status, another one hears of a refusal only."""
        status, message = CAStatus.ECA_NORMAL, put.message
        if error is not None:
            denied = isinstance(error, NotAllowedError)
            status = CAStatus.ECA_NOWTACCESS if denied else CAStatus.ECA_PUTFAIL
        if put.waits:
            kind = ChannelType(message.data_type)
            self._send(ca.WriteNotifyResponse(kind, message.data_count, status, message.ioid))
        elif error is not None:
            self._send(ca.ErrorResponse(message, put.cid, status, _c_string(str(error))))


def _run_at_once(accepting: Any) -> RefusedError | None:
    """Run a put without a hook: nothing in it waits, so it is done before the client's next message."""
    try:
        accepting.send(None)
    except StopIteration:
        return None
    except RefusedError as error:
        return error
    raise RuntimeError("a put without a hook waits for something")


def _elements(channel: Channel, kind: ChannelType, count: int) -> tuple[int, bytes]:
    try:
        return _code(CAStatus.ECA_NORMAL), channel.payload(kind, count)
    except CannotShowError:
        return _code(CAStatus.ECA_GETFAIL), bytes(size_of(kind, count or channel.field.count))


def _code(status: CAStatus) -> int:
    return status.value.code_with_severity


def _c_string(words: str) -> bytes:
    return words.encode()[:500] + b"\0"


HANDLERS: dict[type, Callable[[Session, Any], None]] = {
    ca.VersionRequest: Session._greet,
    ca.ClientNameRequest: Session._name_user,
    ca.HostNameRequest: Session._name_host,
    ca.EchoRequest: Session._echo,
    ca.SearchRequest: Session._search,
    ca.CreateChanRequest: Session._open,
    ca.ClearChannelRequest: Session._close,
    ca.ReadNotifyRequest: Session._read,
    ca.ReadRequest: Session._read,
    ca.EventAddRequest: Session._subscribe,
    ca.EventCancelRequest: Session._unsubscribe,
    ca.EventsOffRequest: Session._events_off,
    ca.EventsOnRequest: Session._resume_events,
    ca.WriteRequest: Session._write,
    ca.WriteNotifyRequest: Session._write,
}

"""Messages as real clients send them: what the fuzz begins with."""

import struct

import caproto as ca
from caproto import ChannelType

from raw_pva import (
    ALL_FIELDS,
    CANCEL,
    DESTROY,
    ECHO,
    GET,
    INIT,
    MONITOR,
    PUT,
    PUT_GET,
    RPC,
    START,
    TYPE,
    hello,
    message,
    numbered,
    opening,
    searching,
    words,
)
from wire_house import PREFIX

PAUSE = b""
"""A message that is none: who sends it waits for answers."""
RECORDS = ("Ao", "Text", "Mbbo", "Longout", "Stringout", "Walk", "Bi")
FIRST_SID = 0x07050301
"""What pvxs calls the first channel of every connection; it counts on from there."""


def ca_stream() -> list[bytes]:
    """One client of Channel Access: it opens channels, and does with them whatever a client can."""
    made: list[object] = [
        ca.VersionRequest(0, 13),
        ca.ClientNameRequest("tester"),
        ca.HostNameRequest("here"),
        *(ca.CreateChanRequest(PREFIX + name, number, 13) for number, name in enumerate(RECORDS)),
        ca.EchoRequest(),
    ]
    values = (b"\x40\x00" + bytes(6), b"new", b"\0\1", b"\0\0\0\5", b"new\0", b"\0\1", b"\0\1")
    kinds = (6, 4, 3, 5, 0, 3, 3)
    for sid, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        count = len(value) if kind == 4 else 1
        made += [
            ca.ReadNotifyRequest(ChannelType(kind + 28), 0, sid, 10 + sid),
            ca.EventAddRequest(ChannelType(kind + 14), 0, sid, 20 + sid, 0, 0, 0, 5),
            ca.WriteRequest(value, ChannelType(kind), count, sid, 30 + sid),
            ca.WriteNotifyRequest(value, ChannelType(kind), count, sid, 40 + sid),
        ]
    made += [
        ca.EventsOffRequest(),
        ca.ReadRequest(ChannelType.STRING, 1, 0, 60),
        ca.EventsOnRequest(),
        ca.EventCancelRequest(ChannelType.TIME_DOUBLE, 0, 20),
        ca.SearchRequest(PREFIX + "Ao", 70, 13, ca.DO_REPLY),
        ca.ClearChannelRequest(2, 2),
        ca.ReadSyncRequest(),
    ]
    # A put of a text that is longer than a short header can say.
    long = struct.pack(">HHHHIIII", 19, 0xFFFF, 4, 0, 1, 50, 1024, 1000) + b"x" * 1024
    return [*(bytes(each) for each in made), long]  # pyright: ignore[reportArgumentType]


def ca_datagram() -> list[bytes]:
    names = [f"{PREFIX}{name}" for name in RECORDS] + ["Y:Other", f"{PREFIX}Text.DESC$"]
    made: list[object] = [
        ca.VersionRequest(0, 13),
        *(ca.SearchRequest(name, number, 13) for number, name in enumerate(names)),
        ca.Beacon(13, 5064, 1, "127.0.0.1"),
        ca.RepeaterRegisterRequest("127.0.0.1"),
    ]
    return [bytes(each) for each in made]  # pyright: ignore[reportArgumentType]


def pva_stream() -> list[bytes]:
    """One client of PVAccess, the same."""
    sids = [FIRST_SID + number for number in range(len(RECORDS))]
    opened = [hello(), *(opening(number, PREFIX + name) for number, name in enumerate(RECORDS))]
    made: list[bytes] = []
    block = bytes.fromhex("8000 01") + words("record") + bytes.fromhex("8000 01") + words("_options")
    block += bytes.fromhex("8000 01") + words("block") + b"\x60"
    values = (
        b"\x01\x02" + struct.pack("<d", 2.0),
        b"\x01\x02" + words("new"),
        b"\x01\x04" + struct.pack("<i", 1),
        b"\x01\x02" + struct.pack("<i", 5),
        b"\x01\x02" + words("new"),
        b"\x01\x04" + struct.pack("<i", 1),
        b"\x01\x04" + struct.pack("<i", 1),
    )
    begun: list[bytes] = []
    for number, (sid, value) in enumerate(zip(sids, values, strict=True)):
        get, put, monitor = 100 + number, 200 + number, 300 + number
        request = block + words("true") if number % 2 else ALL_FIELDS
        begun += [
            numbered(GET, sid, get, INIT, ALL_FIELDS),
            numbered(PUT, sid, put, INIT, request),
            numbered(MONITOR, sid, monitor, INIT, ALL_FIELDS),
        ]
        made += [
            message(TYPE, struct.pack("<II", sid, 600 + number) + words("")),
            numbered(GET, sid, get, 0),
            numbered(MONITOR, sid, monitor, START),
            numbered(PUT, sid, put, 0, value),
        ]
    piped = bytes.fromhex("8000 01") + words("record") + bytes.fromhex("8000 01") + words("_options")
    piped += bytes.fromhex("8000 02") + words("pipeline") + b"\x60" + words("queueSize") + b"\x60"
    piped += words("true") + words("4")
    begun += [
        numbered(MONITOR, sids[0], 400, INIT | 0x80, piped + struct.pack("<I", 4)),
        numbered(RPC, sids[1], 500, INIT, ALL_FIELDS),
    ]
    made += [
        numbered(MONITOR, sids[0], 400, 0x80, struct.pack("<I", 2)),
        numbered(RPC, sids[1], 500, 0, bytes.fromhex("8000 01") + words("a") + b"\x60" + words("b")),
        numbered(PUT_GET, sids[1], 501, INIT, ALL_FIELDS),
        message(CANCEL, struct.pack("<II", sids[0], 400)),
        message(DESTROY, struct.pack("<II", sids[0], 300)),
        searching(1, 5076, PREFIX + "Ao"),
        message(ECHO, b"echo"),
    ]
    # A real client waits until its channels are open, and until its operations have begun.
    return [*opened, PAUSE, *begun, PAUSE, *made]


def pva_datagram() -> list[bytes]:
    names = [f"{PREFIX}{name}" for name in RECORDS]
    return [
        searching(1, 5076, *names, "Y:Other"),
        searching(2, 5076, PREFIX + "Ao", reply=True),
        message(0, bytes(30) + words("tcp") + b"\xff"),
    ]


STREAMS = {"ca": ca_stream, "pva": pva_stream}
DATAGRAMS = {"ca": ca_datagram, "pva": pva_datagram}

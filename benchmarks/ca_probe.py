"""The first answer of a server that starts: asked again and again, by the Channel Access protocol itself.

A real client's library waits longer and longer between its searches, so that it would measure its own pauses.
"""

import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import caproto as ca

VERSION = 13
ASK_AGAIN_S = 0.002


def wait_for_answer(port: int, name: str, lives: Callable[[], bool], deadline_s: float) -> None:
    """Return when a search for the name is answered and the record has been read.

    Raises
    ------
    TimeoutError
        Not within the time, or `lives` says that the server ended.
    """
    end = time.monotonic() + deadline_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(ASK_AGAIN_S)
        asker.connect(("127.0.0.1", port))
        search = bytes(ca.VersionRequest(0, VERSION)) + bytes(ca.SearchRequest(name, 1, VERSION))
        while True:
            if time.monotonic() > end or not lives():
                raise TimeoutError(f"nobody answers for {name} on port {port}")
            try:
                asker.send(search)
                found = ca.Broadcaster(ca.CLIENT).recv(asker.recv(1024), ("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(ASK_AGAIN_S)
            except TimeoutError:
                continue
    tcp_port = next(answer.port for answer in found if isinstance(answer, ca.SearchResponse))
    with socket.create_connection(("127.0.0.1", tcp_port), timeout=deadline_s) as link:
        _read(link, name)


def _read(link: socket.socket, name: str) -> None:
    parser, got = ca.VirtualCircuit(ca.CLIENT, link.getpeername(), 0), deque[Any]()

    def receive(kind: type) -> Any:
        while True:
            while got:
                message = got.popleft()
                if isinstance(message, kind):
                    return message
            data = link.recv(65536)
            if not data:
                raise ConnectionError(f"the server left before it answered for {name}")
            got.extend(parser.recv(data)[0])

    hello = (ca.VersionRequest(0, VERSION), ca.HostNameRequest("here"), ca.ClientNameRequest("bench"))
    link.sendall(b"".join(bytes(word) for word in (*hello, ca.CreateChanRequest(name, 1, VERSION))))
    made = receive(ca.CreateChanResponse)
    link.sendall(bytes(ca.ReadNotifyRequest(made.data_type, made.data_count, made.sid, 1)))
    receive(ca.ReadNotifyResponse)

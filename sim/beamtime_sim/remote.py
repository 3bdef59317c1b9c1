"""How one asks the control of a box that runs."""

import json
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

from beamtime_sim.errors import KnobError, NobodyAnswersError
from beamtime_sim.web import HOST


def ask(port: int, method: str, path: str, body: object = None) -> Any:
    """Send one request to the control of a running box and return its JSON.

    Raises
    ------
    KnobError
        The box refused the knob or its value; the sentence is the box's own.
    NobodyAnswersError
        No box answers on this port.
    """
    content = None if body is None else json.dumps(body).encode()
    # Not urllib: it would send a loopback request through the proxy that the environment names.
    with closing(HTTPConnection(HOST, port, timeout=5)) as connection:
        try:
            connection.request(method, path, body=content)
            reply = connection.getresponse()
            answer: Any = json.load(reply)
        except (OSError, HTTPException, ValueError) as error:
            raise NobodyAnswersError(port) from error
    if reply.status != HTTPStatus.OK:
        raise KnobError(answer["error"])
    return answer

"""A Bluesky device on one button, as a plan uses it; a program, since libca reads its environment once.

Arguments: the name of the button. Prints `busy` while the put is waited for, and how it was answered.
"""

import sys
import time

from ophyd import Component, Device, EpicsSignal, EpicsSignalRO
from ophyd.status import Status


class Button(Device):
    press = Component(EpicsSignal, "", put_complete=True)
    state = Component(EpicsSignalRO, "State", string=True)


def main(name: str) -> None:
    button = Button(name, name="button")
    button.wait_for_connection(timeout=20)
    began = time.monotonic()
    status: Status = button.press.set(1)
    print("busy" if not status.done else "done at once", flush=True)
    status.wait(60)
    print(button.state.get(use_monitor=False), f"{time.monotonic() - began:.2f}", flush=True)


main(sys.argv[1])

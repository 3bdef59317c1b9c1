"""Changes to a list of messages, such as a broken client or network would make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFE, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF)
NUMBERS += (0x80000000, 0xFFFFFFF8, 0xFFFFFFFF)
"""Where counts and sizes break."""
LENGTH_BYTES = 200_000


@dataclass(frozen=True)
class Edit:
    """One change.

    Parameters
    ----------
    what
        A key of `CHANGES`.
    which, where
        The message, and the place in it; each is taken modulo what there is.
    number
        What is written there, or how much.
    """

    what: str
    which: int
    where: int
    number: int


def edited(messages: Sequence[bytes], edits: Sequence[Edit]) -> list[bytes]:
    """The messages after the changes, up to a bound; an empty one is a pause."""
    made = list(messages)
    for edit in edits:
        if made:
            CHANGES[edit.what](made, edit.which % len(made), edit)
    while sum(map(len, made)) > LENGTH_BYTES:
        made.pop()
    return made


def some_edits(random: Random, most: int = 6) -> list[Edit]:
    """Changes of a campaign."""
    return [
        Edit(
            random.choice(sorted(CHANGES)),
            random.randrange(1000),
            random.randrange(1000),
            random.choice([*NUMBERS, random.randrange(2**32)]),
        )
        for _ in range(random.randint(1, most))
    ]


def _put_at(message: bytes, where: int, piece: bytes) -> bytes:
    at = where % max(len(message), 1)
    return message[:at] + piece + message[at + len(piece) :]


def _flip(made: list[bytes], which: int, edit: Edit) -> None:
    if made[which]:
        at = edit.where % len(made[which])
        made[which] = _put_at(made[which], at, bytes([made[which][at] ^ (1 << edit.number % 8)]))


def _number(size: int, order: str) -> Callable[[list[bytes], int, Edit], None]:
    def write(made: list[bytes], which: int, edit: Edit) -> None:
        # On the grid of the numbers, where headers have theirs.
        at = edit.where % max(len(made[which]), 1) // size * size
        piece = (edit.number % 256**size).to_bytes(size, "big" if order == "big" else "little")
        made[which] = _put_at(made[which], at, piece)

    return write


def _cut(made: list[bytes], which: int, edit: Edit) -> None:
    made[which] = made[which][: edit.where % (len(made[which]) + 1)]


def _drop(made: list[bytes], which: int, edit: Edit) -> None:
    del made[which]


def _repeat(made: list[bytes], which: int, edit: Edit) -> None:
    made[which] *= edit.number % 40 + 2


def _swap(made: list[bytes], which: int, edit: Edit) -> None:
    other = edit.where % len(made)
    made[which], made[other] = made[other], made[which]


def _insert(made: list[bytes], which: int, edit: Edit) -> None:
    at = edit.where % (len(made[which]) + 1)
    piece = Random(edit.number).randbytes(edit.number % 60)
    made[which] = made[which][:at] + piece + made[which][at:]


def _splice(made: list[bytes], which: int, edit: Edit) -> None:
    other = made[edit.number % len(made)]
    at = edit.where % (len(made[which]) + 1)
    made[which] = made[which][:at] + other[at:]


CHANGES: dict[str, Callable[[list[bytes], int, Edit], None]] = {
    "flip": _flip,
    "byte": _number(1, "big"),
    "big 2": _number(2, "big"),
    "big 4": _number(4, "big"),
    "little 2": _number(2, "little"),
    "little 4": _number(4, "little"),
    "cut": _cut,
    "drop": _drop,
    "repeat": _repeat,
    "swap": _swap,
    "insert": _insert,
    "splice": _splice,
}

"""A screen as MEDM reads it: `.adl`, version 3.1.11."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from beamtime_ioc.screens.widgets import (
    Band,
    Bar,
    Box,
    Choice,
    Entry,
    Glow,
    Link,
    Paint,
    Press,
    Reading,
    Screen,
    Widget,
    Words,
)

END = ".adl"
COLOURS: Sequence[str] = """
ffffff ececec dadada c8c8c8 bbbbbb aeaeae 9e9e9e 919191 858585 787878 696969 5a5a5a 464646 2d2d2d 000000
00d800 1ebb00 339900 2d7f00 216c00 fd0000 de1309 be190b a01207 820400 5893ff 597ee1 4b6ec7 3a5eab 27548d
fbf34a f9da3c eeb62b e19015 cd6100 ffb0ff d67fe2 ae4ebc 8b1a96 610a75 a4aaff 8793e2 6a73c1 4d52a4 343386
c7bb6d b79d5c a47e3c 7d5627 58340f 99ffff 73dfff 4ea5f9 2a63e4 0a00b8 ebf1b5 d4db9d bbc187 a6a462 8b8239
73ff6b 52da3b 3cb420 289315 1a7309
""".split()  # noqa: SIM905  # sixty-five quoted words are no easier to read
"""MEDM's own map, in its order: what a colour's number means on every screen."""

Block = tuple[str, Mapping[str, Any]]


def write_adl(screen: Screen) -> str:
    """The file's text."""
    blocks: list[Block] = [
        ("file", {"name": f"{screen.name}{END}", "version": 30111}),
        (
            "display",
            {
                "object": _object(Box(60, 60, screen.width, screen.height)),
                "clr": Paint.TEXT.index,
                "bclr": Paint.GROUND.index,
                "cmap": "",
                "gridSpacing": 5,
                "gridOn": 0,
                "snapToGrid": 0,
            },
        ),
        ("color map", {"ncolors": len(COLOURS), "colors": COLOURS}),
    ]
    # MEDM wraps nothing: it shows a long text by its lines.
    rows = [row for one in screen.widgets for row in (one.rows() if isinstance(one, Reading) else [one])]
    blocks += [WRITERS[type(widget)](widget) for widget in rows]
    return "\n" + "".join(_render(name, content, 0) for name, content in blocks)


def _render(name: str, content: Any, depth: int) -> str:
    pad = "\t" * depth
    if isinstance(content, dict):
        content = cast(dict[str, Any], content)
        head = name if name.replace("[", "").replace("]", "").isalnum() else f'"{name}"'
        inner = "".join(_render(key, value, depth + 1) for key, value in content.items())
        return f"{pad}{head} {{\n{inner}{pad}}}\n"
    if isinstance(content, list):
        words = "".join(f"{pad}\t{word},\n" for word in cast(list[str], content))
        return f"{pad}{name} {{\n{words}{pad}}}\n"
    return f"{pad}{name}={_word(content)}\n"


def _word(value: Any) -> str:
    return str(value) if isinstance(value, int) else '"' + str(value).replace('"', "'") + '"'


def _object(box: Box) -> Mapping[str, Any]:
    return {"x": box.x, "y": box.y, "width": box.width, "height": box.height}


def _channel(name: str) -> str:
    return f"$(P)$(R){name}"


def _monitor(channel: str, ink: Paint, ground: Paint) -> Mapping[str, Any]:
    return {"chan": _channel(channel), "clr": ink.index, "bclr": ground.index}


def _words(widget: Words) -> Block:
    return "text", {
        "object": _object(widget.box),
        "basic attribute": {"clr": widget.paint.index},
        "textix": widget.text,
        "align": "horiz. right" if widget.right else "horiz. left",
    }


def _band(widget: Band) -> Block:
    return "rectangle", {
        "object": _object(widget.box),
        "basic attribute": {"clr": widget.paint.index},
    }


def _glow(widget: Glow) -> Block:
    return "rectangle", {
        "object": _object(widget.box),
        "basic attribute": {"clr": widget.paint.index, "fill": "outline", "width": 2},
        "dynamic attribute": {"vis": "if not zero", "chan": _channel(widget.channel)},
    }


def _reading(widget: Reading) -> Block:
    ink, ground = (Paint.GOOD, Paint.TEXT) if widget.alarm else (Paint.VALUE, Paint.WELL)
    return "text update", {
        "object": _object(widget.box),
        "monitor": _monitor(widget.channel, ink, ground),
        **({"clrmod": "alarm"} if widget.alarm else {}),
        "align": "horiz. left",
        **({"format": "string"} if widget.text else {}),
        "limits": {},
    }


def _entry(widget: Entry) -> Block:
    return "text entry", {
        "object": _object(widget.box),
        "control": _monitor(widget.channel, Paint.TEXT, Paint.ENTRY),
        **({"format": "string"} if widget.text else {}),
        "limits": {},
    }


def _choice(widget: Choice) -> Block:
    return "menu", {
        "object": _object(widget.box),
        "control": _monitor(widget.channel, Paint.TEXT, Paint.ENTRY),
    }


def _press(widget: Press) -> Block:
    # No release_msg: a second put would come when the button is let go.
    return "message button", {
        "object": _object(widget.box),
        "control": _monitor(widget.channel, Paint.TEXT, Paint.ENTRY),
        "label": widget.label,
        "press_msg": widget.state,
    }


def _bar(widget: Bar) -> Block:
    limits = {"loprSrc": "default", "loprDefault": 0, "hoprSrc": "default", "hoprDefault": 100}
    return "bar", {
        "object": _object(widget.box),
        "monitor": _monitor(widget.channel, Paint.BAR, Paint.WELL),
        "label": "no decorations",
        "direction": "right",
        "limits": limits,
    }


def _link(widget: Link) -> Block:
    return "related display", {
        "object": _object(widget.box),
        "display[0]": {"label": widget.label, "name": f"{widget.screen}{END}", "args": "P=$(P),R=$(R)"},
        "clr": Paint.WHITE.index,
        "bclr": Paint.TITLE.index,
        "label": f"-{widget.label}",
    }


WRITERS: Mapping[type[Widget], Callable[[Any], Block]] = {
    Words: _words,
    Band: _band,
    Glow: _glow,
    Reading: _reading,
    Entry: _entry,
    Choice: _choice,
    Press: _press,
    Bar: _bar,
    Link: _link,
}

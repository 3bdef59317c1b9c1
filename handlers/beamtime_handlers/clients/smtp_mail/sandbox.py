"""What a template of a site may ask for: Jinja2's sandbox, and an end of time, signs and numbers."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_TIMES = 10_000
"""How often a text may be written behind itself."""
MOST_SIGNS = 1 << 20
"""Of one part of a letter, filled."""
LONGEST_S = 2.0
"""For one part of a letter; a good one takes some milliseconds."""

_IN_TIME = "each_in_time"
_IN_BOUNDS = "in_bounds"
_WIDENS = ("center", "indent", "batch", "slice", "tojson", "ljust", "rjust", "zfill", "expandtabs")
"""Filters, and methods of a text, that make something as wide as a number says."""
_WIDE = (
    re.compile(r"%(?:\([^)]*\))?[-#0 +]*(?:\*|\d{5}|\d*\.(?:\*|\d{5}))"),
    re.compile(r"\{[^{}]*:[^{}]*(?:\{|\d{5})"),
)
"""A width of five digits or from elsewhere in a format, as in `%99999d` and `{:99999}`."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's, but a text is handed out at once: a letter asks for little else, a thousand for many.

    One power, such as `9**9**9`, one text too many times or too wide, loops in loops or a macro that calls
    itself would stop the whole program: at each turn of a loop and each call the time is looked at, and what
    makes long texts of short ones is asked for their length. A list in a list in a list is not.
    """

    intercepted_binops = frozenset(["**", "*", "%", "+"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = {name: _bounded(name, filled) for name, filled in self.filters.items()}
        self.filters = own | {_IN_TIME: _each_in_time, _IN_BOUNDS: _short}
        # As long as is asked for.
        del self.globals["lipsum"]  # pyright: ignore[reportUnknownMemberType]
        self._end_s = 0.0

    def fill(self, template: jinja2.Template, values: Mapping[str, Any]) -> str:
        """Fill one of its templates; by one thread at a time.

        Raises
        ------
        jinja2.TemplateError
            Among them SecurityError: it asks for more than it may.
        """
        self._end_s = time.monotonic() + LONGEST_S
        pieces, signs = list[str](), 0
        try:
            for piece in template.generate(values):
                self.require_time()
                pieces.append(piece)
                if (signs := signs + len(piece)) > MOST_SIGNS:
                    raise SecurityError(f"it would have more than {MOST_SIGNS} signs; shorten its loops")
        except RecursionError as error:
            raise SecurityError("it calls itself without end; mend that") from error
        except MemoryError as error:
            raise SecurityError("it needs more memory than there is; shorten it") from error
        return "".join(pieces)

    def require_time(self) -> None:
        if time.monotonic() > self._end_s:
            raise SecurityError(
                f"it is not done after {LONGEST_S:g} s; see whether its loops and macros come to an end"
            )

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _IN_TIME, [], [], None, None, lineno=loop.lineno)
        for chain in tree.find_all(nodes.Concat):
            chain.nodes[:] = [nodes.Filter(one, _IN_BOUNDS, [], [], None, None) for one in chain.nodes]
        return tree

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.require_time()
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja2 has wrapped `format`
        text = getattr(method, "__self__", None)
        if isinstance(text, str):
            if method.__name__ == "join" and args:
                args = (list(args[0]), *args[1:])  # it may come one by one
            _refuse_wide(method.__name__, text, [*args, *kwargs.values()])
        return _short(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("a letter needs no power")
        for text, times in ((left, right), (right, left)) if operator == "*" else ():
            if isinstance(times, int) and not isinstance(text, int | float):
                if times > MOST_TIMES:
                    raise SecurityError(f"a text {MOST_TIMES} times is the most")
                if hasattr(text, "__len__") and len(text) * times > MOST_SIGNS:
                    raise SecurityError(f"{MOST_SIGNS} signs are the most")
        if operator == "%" and isinstance(left, str):
            _refuse_wide("format", left)
        return _short(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        plain = isinstance(value, str) and not attr.startswith("_")
        return plain or super().is_safe_attribute(obj, attr, value)


@jinja2.pass_context
def _each_in_time(context: Context, things: Iterable[Any]) -> Iterator[Any]:
    sandbox = context.environment
    for thing in things:
        if isinstance(sandbox, Sandbox):
            sandbox.require_time()
        yield thing


def _bounded(name: str, filled: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that makes nothing endless of a number or of short texts."""
    begin = 1 if hasattr(filled, "jinja_pass_arg") else 0

    @wraps(filled)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        value, *rest = args[begin:]
        if name == "join":
            value = list(value)  # it may come one by one
        _refuse_wide(name, value, [*rest, *kwargs.values()])
        return _short(filled(*args[:begin], value, *rest, **kwargs))

    return bounded


def _refuse_wide(name: str, value: Any, given: Iterable[Any] = ()) -> None:
    """Raise SecurityError before a filter or a method of a text makes more of it than a letter may have."""
    given = list(given)
    text = value if isinstance(value, str) else ""
    longest = max((len(one) for one in given if isinstance(one, str)), default=0)
    signs = 0
    if name in _WIDENS:
        width = max((one for one in given if isinstance(one, int)), default=0)
        signs = width * (1 + text.count("\n") + text.count("\t"))
    elif name == "replace" and given and isinstance(given[0], str):
        signs = longest * text.count(given[0])
    elif name == "wordwrap":
        signs = longest * len(text)
    elif name == "join":
        parts = given[0] if text and given else value
        signs = sum(max(longest, len(text)) + (len(one) if isinstance(one, str) else 0) for one in parts)
    elif name == "format" and any(wide.search(text) for wide in _WIDE):
        signs = MOST_SIGNS + 1
    if signs > MOST_SIGNS:
        raise SecurityError(f"{MOST_SIGNS} signs are the most; see what stands at {name}")


def _short(value: Any) -> Any:
    """The same, or SecurityError: a text that is put behind itself doubles each time."""
    if isinstance(value, str | list | tuple) and len(cast("str | list[Any]", value)) > MOST_SIGNS:
        raise SecurityError(f"{MOST_SIGNS} signs are the most")
    return cast(Any, value)

"""A disk without space, as programs tell of one: these stand before the real ones on PATH.

A disk that is truly full would need root. What stands already is found and read as ever.
"""

import shutil
from pathlib import Path

_NEW = """\
for last do :; done
[ ! -e "$last" ] || exec {real} "$@"
echo "{name}: cannot {verb} '$last': No space left on device" >&2
exit 1
"""
_PROGRAMS = {
    # Used is all and available is nothing, in whatever unit was asked for.
    "df": """\
number='(-?[0-9.]+[KMGTPEZYi]*)'
{real} "$@" | sed -E "s/$number( +)$number( +)$number( +)[0-9-]+%/\\1\\2\\1\\40\\6100%/"
""",
    "mkdir": _NEW,
    "touch": _NEW,
    "cp": """\
for last do :; done
echo "cp: error writing '$last': No space left on device" >&2
exit 1
""",
    "cat": """\
[ -f /dev/stdout ] || exec {real} "$@"
[ -n "$({real} "$@" | head -c 1 | tr '\\\\0' x)" ] || exit 0
echo "cat: write error: No space left on device" >&2
exit 1
""",
}
_VERBS = {"mkdir": "create directory", "touch": "touch"}


def write_programs(directory: Path) -> None:
    """Write the programs into a directory of their own; those that this computer has not are left out."""
    directory.mkdir(exist_ok=True)
    for name, text in _PROGRAMS.items():
        real = shutil.which(name)
        if real is not None:
            path = directory / name
            path.write_text("#!/bin/sh\n" + text.format(name=name, real=real, verb=_VERBS.get(name, "")))
            path.chmod(0o755)

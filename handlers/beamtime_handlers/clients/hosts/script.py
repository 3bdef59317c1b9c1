"""What is done on another host: a program for its sh.

The program comes over stdin, so that no login shell reads it. Every word that is not ours stands in it as
letters, digits and octal numbers: there is nothing in it that a shell could take for more than a word.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from beamtime_handlers.clients.hosts.marker import LARGEST_BYTES, Marker
from beamtime_handlers.clients.hosts.reach import all_entries
from beamtime_ioc.model import Place

PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,")
LEAST_FILES = 20
"""So many names of files are asked for; a few of them may be ours."""

# Works in the directory it has changed to, as openat(2) does. That no link was followed, PWD tells, and `..`:
# bash works PWD out before it changes, and a link may come in between.
PROGRAM = r"""
set -u
umask 077
say() { printf '%s %s\n' "$token" "$*"; }
begin() {
  echo
  read -r pid name state parent its_processes rest </proc/$$/stat && say "processes $its_processes"
  if [ -n "$stuck" ] && kill -s 0 -- "-$stuck"; then say stuck; say done; exit 0; fi
  me=$(id)
  say "me $me"
  me=${me#uid=} me=${me%%[!0-9]*}
} 2>/dev/null
plain() {
  case $1 in
    *\\*) word=$(printf '%b.' "$1"); word=${word%.} ;;
    *) word=$1 ;;
  esac
}
fits() {
  case $mode in $pattern) ;; *) return 1 ;; esac
  [ -z "$group" ] || [ "$its_group" = "$group" ] || [ "$gid" = "$group" ]
}
status() {
  its=$(stat -c '%a/%u/%g/%U/%G' . 2>&1) || { say "end trouble ${its##*: }"; return 1; }
  may=0
  [ -w . ] && [ -x . ] && may=1
  say "$1 $its/$may"
  mode=${its%%/*} rest=${its#*/}
  uid=${rest%%/*} rest=${rest#*/}
  gid=${rest%%/*} its_group=${rest##*/}
}
top() {
  said=$(stat -L -c %F -- "$top" 2>&1) || { say "end top ${said##*: }"; return 1; }
  [ -d "$top" ] || { say 'end top Not a directory'; return 1; }
  { [ -r "$top" ] && [ -x "$top" ] && cd -P -- "$top"; } || { say 'end top Permission denied'; return 1; }
  if [ -n "$mounted" ]; then
    said=$(stat -L -c %F -- "./$mounted" 2>&1) || { say "end mounted ${said##*: }"; return 1; }
  fi
  if [ -n "$group" ]; then
    case $group in -*) say 'end group'; return 1 ;; esac
    if command -v getent >/dev/null 2>&1; then
      getent group "$group" >/dev/null || { say 'end group'; return 1; }
    fi
  fi
  if [ -n "$acl" ]; then
    { command -v setfacl && command -v getfacl; } >/dev/null 2>&1 || { say 'end tools'; return 1; }
  fi
  if [ -n "$mount" ]; then
    here=$(stat -c '%d %i' .) above=$(stat -c '%d %i' ..)
    if [ "${here% *}" = "${above% *}" ] && [ "$here" != "$above" ]; then say 'end mount'; return 1; fi
  fi
  path=$PWD
  status level
}
enter() {
  [ ! -L "./$word" ] || { say 'end link'; return 1; }
  [ -e "./$word" ] || { say 'end absent'; return 1; }
  [ -d "./$word" ] || { say 'end file'; return 1; }
  { [ -r "./$word" ] && [ -x "./$word" ]; } || { say 'end trouble Permission denied'; return 1; }
  above=$(stat -c '%d %i' . 2>/dev/null)
  cd -P -- "./$word" 2>/dev/null || { say 'end vanished'; return 1; }
  path=${path%/}/$word
  [ "$PWD" = "$path" ] && [ "$(stat -c '%d %i' .. 2>/dev/null)" = "$above" ] || { say 'end link'; return 1; }
  status level
}
space() {
  [ -n "$ask_space" ] || return 0
  if free=$(df -PB1 . 2>/dev/null); then say "free 1 $(printf '%s\n' "$free" | tail -n 1)"
  elif free=$(df -Pk . 2>/dev/null); then say "free 1024 $(printf '%s\n' "$free" | tail -n 1)"
  fi
}
content() {
  ls -A 2>&1 | head -n "$files" | while IFS= read -r name; do say "file $name"; done
  its_marker=./.experiment.json
  if [ -L $its_marker ]; then say 'marker link'
  elif [ ! -e $its_marker ]; then say 'marker none'
  elif [ ! -f $its_marker ]; then say 'marker other'
  elif [ ! -r $its_marker ]; then say 'marker denied'
  else say "marker is $(dd if=$its_marker bs="$largest" count=1 2>/dev/null | od -An -v -tx1 | tr -d ' \n')"
  fi
  if [ -n "$acl" ]; then
    { getfacl -cp .; getfacl -cpn .; } 2>/dev/null | while read -r entry; do say "acl $entry"; done
  fi
}
look() {
  say walk
  top || return 0
  for name do
    plain "$name"
    enter || { space; return 0; }
  done
  space
  content
  say 'end here'
}
count() {
  say walk
  top || return 0
  for name do
    plain "$name"
    enter || return 0
  done
  {
    find . -type f ! -path './.experiment.json' ! -path './.experiment.json.*.part' \
      -exec stat -c %s {} + 2>/dev/null
    echo "end $?"
  } | tally
  say 'end here'
}
tally() {
  number=0 bytes=0
  while read -r size code; do
    if [ "$size" = end ]; then say "counted $number $bytes $code"; return; fi
    number=$((number + 1)) bytes=$((bytes + size))
    case $number in *00) say "so-far $number $bytes" ;; esac
  done
}
own() {
  if [ -n "$group" ] && [ "$its_group" != "$group" ] && [ "$gid" != "$group" ]; then
    chgrp -- "$group" . 2>/dev/null
  fi
  chmod -- "$bits" . 2>/dev/null
  if [ -n "$acl" ]; then
    said=$(setfacl -m "$acl" -- . 2>&1) || { say "end acl ${said##*: }"; return 1; }
  fi
  status now || return 1
  fits || { say 'end owned'; return 1; }
}
left_unfinished() {
  [ "$uid" = "$me" ] && ! { fits && [ -z "$acl" ]; } && [ -z "$(ls -A 2>/dev/null | head -n 1)" ]
}
is_unmarked() {
  if [ "$how" = adopt ]; then [ ! -e ./.experiment.json ] && [ ! -L ./.experiment.json ]; return; fi
  [ -z "$(ls -A 2>/dev/null | grep -v '^[.]experiment[.]json[.].*[.]part$' | head -n 1)" ]
}
mark() {
  its_marker=./.experiment.json
  part=$its_marker.$token.part
  # Everybody may know whose it is. Not by chmod: who may write here could have put a link there meanwhile.
  if said=$( { printf '%b' "$marker" | (umask 022 && set -C && cat >"$part"); } 2>&1) && publish; then
    rm -f "$part"
  else
    rm -f "$part"
    say "end trouble ${said##*: }"
    return 1
  fi
}
publish() {
  ln "$part" $its_marker 2>/dev/null || [ -e $its_marker ] || [ -L $its_marker ] ||
    said=$(mv "$part" $its_marker 2>&1)
}
make() {
  how=$1
  shift
  say walk
  top || return 0
  while [ $# -gt 0 ]; do
    plain "$1"
    shift
    made=
    if said=$(mkdir -m 700 -- "./$word" 2>&1); then made=1
    elif [ ! -e "./$word" ] && [ ! -L "./$word" ]; then say "end trouble ${said##*: }"; return 0
    fi
    enter || return 0
    if [ $# -gt 0 ] || [ "$how" = bare ]; then
      if [ -n "$made" ] || left_unfinished; then own || return 0; fi
    elif [ "$how" = ours ]; then own || return 0
    elif is_unmarked; then { own && mark; } || return 0
    fi
  done
  content
  say 'end here'
}
"""


def encoded(text: str) -> str:
    """A text as `printf %b` reads it; of letters, digits, `_./:,` and octal numbers alone."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    return "".join(chr(byte) if byte in PLAIN else f"\\0{byte:03o}" for byte in data)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A program, and the word by which its answers are told from what else a login writes."""

    token: str
    text: str


def look_job(place: Place, ways: Iterable[Sequence[str]], *, space: bool, stuck: str = "") -> Job:
    """Look at some ways below the top.

    Parameters
    ----------
    stuck
        The processes of an earlier job there: nothing is touched while they live.
    """
    calls = (" ".join(("look", *map(_quoted, way))) for way in ways)
    return _job(place, calls, space=space, stuck=stuck)


def make_job(
    place: Place, way: Sequence[str], how: str, marker: Marker | None = None, *, stuck: str = ""
) -> Job:
    """Make one directory.

    Parameters
    ----------
    how
        `bare`: it gets no marker. `new`: it gets one, unless it has one or holds files: that is not touched.
        `adopt`: it gets one, whatever lies in it, unless it has one. `ours`: it is known to be ours, and gets
        group and mode again.
    """
    call = " ".join(("make", how, *map(_quoted, way)))
    return _job(place, [call], marker=marker.text if marker else "", stuck=stuck)


def count_job(place: Place, way: Sequence[str], *, stuck: str = "") -> Job:
    """Count the files in one directory, at any depth."""
    return _job(place, [" ".join(("count", *map(_quoted, way)))], stuck=stuck)


def _quoted(text: str) -> str:
    return f"'{encoded(text)}'"


def _job(
    place: Place, calls: Iterable[str], *, space: bool = False, marker: str = "", stuck: str = ""
) -> Job:
    token = secrets.token_hex(8)
    digits = f"{place.mode:o}"
    words = {
        "top": str(place.top),
        "mounted": place.marker,
        "group": place.group,
        "acl": all_entries(place) if place.acl else "",
        # With an access list the digit of the group shows its mask.
        "pattern": f"{digits[:-2]}?{digits[-1]}" if place.acl else digits,
    }
    lines = [f"plain {_quoted(text)}; {name}=$word" for name, text in words.items()]
    lines += [
        f"marker={_quoted(marker)}",
        f"bits={place.mode:05o}",  # with five digits chmod takes setgid away too
        f"files={LEAST_FILES} largest={LARGEST_BYTES + 1}",
        f"ask_space={'1' if space else ''} mount={'1' if place.mount else ''}",
        f"stuck={stuck}",
        "begin",
    ]
    # In one function: a program that was cut on its way does nothing at all.
    body = "\n".join([*lines, *calls, "say done"])
    return Job(
        token=token, text=f"token={token}\n{PROGRAM}\nmain() {{\n{body}\n}}\nmain </dev/null\nexit 0\n"
    )

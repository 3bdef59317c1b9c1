#!/usr/bin/env bash
# Run the tests, set-up included. What follows goes to pytest: tools/test.sh -k directories
#
# As root they run as an unprivileged user, since root ignores file modes; as anybody else they run as you.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# shellcheck source=tools/debian.sh
source tools/debian.sh
# What a test creates has the modes it asks for, whoever starts it.
umask 022

tester=beamtime-test

make_tester() {
    if ! getent passwd "$tester" >/dev/null; then
        say "making the user $tester, who runs the tests"
        useradd --create-home --shell /bin/bash --comment "runs the tests of beamtime-ioc" "$tester"
        # No password, but not locked: sshd refuses a locked account even with a key.
        usermod --password '*' "$tester"
    fi
    uid=$(id -u "$tester") gid=$(id -g "$tester")
    home=$(getent passwd "$tester" | cut -d: -f6)
    [ "$uid" -ne 0 ] || fail "the user $tester must not be root; remove it, then run this again"
    [ -d "$home" ] || install -d -m 0755 -o "$uid" -g "$gid" "$home"
}

# unreadable  ->  the first thing in the checkout that the tester cannot read, or nothing
unreadable() {
    as_user "$uid" "$gid" find "$root" \
        \( -type d \( ! -readable -o ! -executable \) -o -type f ! -readable \) -print -quit 2>/dev/null || true
}

let_tester_read() {
    local place=/ part grant="u:$tester"
    local advice="clone into a directory that everybody may enter, or run the tests as an ordinary user"
    # Each directory above the checkout: the tester passes through, and cannot list it.
    local above=()
    IFS=/ read -ra above <<<"${root#/}"
    for part in "" "${above[@]:0:${#above[@]}-1}"; do
        place=${place%/}/$part
        as_user "$uid" "$gid" test -x "$place" && continue
        say "letting $tester pass through $place (setfacl -m $grant:--x $place)"
        setfacl -m "$grant:--x" "$place" || fail "$tester may not pass through $place; $advice"
    done
    if as_user "$uid" "$gid" test -x "$root" && [ -z "$(unreadable)" ]; then return; fi
    say "letting $tester read $root (setfacl -R -m $grant:rX $root)"
    setfacl -R -m "$grant:rX" "$root" || fail "$tester may not read $root; $advice"
    local left
    left=$(unreadable)
    [ -z "$left" ] || fail "$tester still cannot read $left; $advice"
}

# processes_left  ->  the ids of those still running that the tests began: they carry its TMPDIR
processes_left() {
    grep -lszx "TMPDIR=$tmp" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 | paste -sd' ' - || true
}

if is_root; then
    mapfile -t missing < <(missing_packages "${TEST_PACKAGES[@]}")
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
else
    mapfile -t missing < <(missing_packages "${TEST_PACKAGES[@]}")
    [ ${#missing[@]} -eq 0 ] || fail "the tests need Debian packages that are not here: ${missing[*]}." \
        "Get them: sudo apt-get install ${missing[*]}, then run this again (or run make test as root)"
fi

tools/setup.sh sim test

# Short, since sockets lie in it, and of this run alone.
tmp=$(mktemp -d /tmp/beamtime-test.XXXXXX)
run=() user=$(id -un) home=${HOME:-$tmp}
if is_root; then
    make_tester
    let_tester_read
    chown "$uid:$gid" "$tmp"
    user=$tester
    run=(setpriv "--reuid=$uid" "--regid=$gid" --init-groups --)
fi

environment=(
    "HOME=$home" "USER=$user" "LOGNAME=$user" SHELL=/bin/bash LANG=C.UTF-8
    "PATH=$root/.venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    "TMPDIR=$tmp" "HYPOTHESIS_STORAGE_DIRECTORY=$tmp/hypothesis"
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
    # The checkout belongs to somebody else, which git calls dubious.
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory "GIT_CONFIG_VALUE_0=$root"
)
for name in CI TERM COLUMNS; do
    [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done

status=0
"${run[@]}" env -i "${environment[@]}" "$root/.venv/bin/python" -m pytest -n 4 --dist worksteal "$@" </dev/null || status=$?

for _ in {1..50}; do
    left=$(processes_left)
    [ -n "$left" ] || break
    sleep 0.1
done
if [ -n "$left" ]; then
    say "beamtime-ioc: the tests left processes behind, ended now:"
    for process in $left; do
        say "    $process $(tr '\0' ' ' <"/proc/$process/cmdline" || true)"
        kill -KILL "$process" 2>/dev/null || true
    done
    [ "$status" -ne 0 ] || status=1
fi
if [ "$status" -eq 0 ]; then
    rm -rf "$tmp"
else
    say "what the tests wrote lies in $tmp"
fi
exit "$status"

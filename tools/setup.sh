#!/usr/bin/env bash
# Make .venv and install beamtime-ioc into it, editable, with the extras named:
#
#     tools/setup.sh sim test
#
# Does nothing when that stands already. PYTHON=/path/to/python3 chooses the interpreter of a new .venv.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# shellcheck source=tools/debian.sh
source tools/debian.sh

# Also a test user reads what is installed here.
umask 022
# One set-up at a time in this checkout: `make -j lint types` begins two.
if command -v flock >/dev/null; then exec 9<tools/setup.sh && flock 9; fi

# fits PYTHON  ->  new enough, and executable by others than root
fits() {
    "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 1
    ! is_root || as_user 65534 65534 "$1" -I -c '' 2>/dev/null
}

# find_python  ->  sets `python`
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        python=$PYTHON
        fits "$python" || fail "PYTHON=$python does not run, is older than 3.11, or only root may execute it"
        return
    fi
    for python in $(type -ap python3 || true) /usr/bin/python3 /usr/local/bin/python3 \
        $(type -ap python3.14 python3.13 python3.12 python3.11 || true); do
        ! fits "$python" || return 0
    done
    return 1
}

# stands  ->  .venv was made for this place and its Python still runs
stands() {
    grep -qsF "$root/.venv" .venv/bin/activate && .venv/bin/python -I -c 'import pip' 2>/dev/null &&
        fits "$(readlink -f .venv/bin/python)"
}

make_venv() {
    local python
    if ! find_python; then
        if is_root && command -v apt-get >/dev/null; then install_packages python3 python3-venv; fi
        find_python || fail "no Python >= 3.11 here that every user may execute. Debian 12 or newer has one:" \
            "apt-get install python3 python3-venv. Or name one: make PYTHON=/path/to/python3 ..."
    fi
    if [ -e .venv ] && [ ! -e .venv/pyvenv.cfg ] && [ -n "$(ls -A .venv)" ]; then
        fail "$root/.venv is no virtual environment; move it away, then run this again"
    fi

    say "making .venv with $python"
    # Debian keeps ensurepip, which puts pip into a new environment, in a package of its own.
    if ! "$python" -I -c 'import ensurepip' 2>/dev/null && is_root; then
        case "$(readlink -f "$python")" in /usr/bin/*) install_packages python3-venv ;; esac
    fi
    if "$python" -I -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv --clear .venv
    elif "$python" -m virtualenv --version >/dev/null 2>&1; then
        "$python" -m virtualenv --quiet --clear .venv
    elif "$python" -m venv --clear --without-pip .venv 2>/dev/null &&
        "$python" -m pip --python .venv/bin/python install --quiet pip 2>/dev/null; then
        :
    else
        rm -rf .venv
        fail "$python cannot make a virtual environment with pip in it." \
            "Get what is missing: sudo apt-get install python3-venv, then run this again"
    fi
}

key=$(sha256sum pyproject.toml | cut -d' ' -f1)
stamp=.venv/beamtime-installed
installed_key='' installed=()
if stands; then
    if [ -r "$stamp" ]; then { read -r installed_key && read -ra installed; } <"$stamp" || true; fi
else
    if [ ! -w . ] || { [ -e .venv ] && [ ! -w .venv ]; }; then
        fail "$root has no .venv that works, and you may not make one there; clone it to a place of your own"
    fi
    make_venv
fi

sorted() { printf '%s\n' "$@" | sort -u | paste -sd, -; }
wanted=$(sorted "${installed[@]}" "$@")
[ "$key $wanted" != "$installed_key $(sorted "${installed[@]}")" ] || exit 0
[ -w .venv ] || fail "$root/.venv is older than pyproject.toml or lacks a part of [$wanted], and is not yours;" \
    "ask its owner to run: tools/setup.sh $*"

say "installing beamtime-ioc[$wanted] into .venv (a minute or two the first time)"
rm -f "$stamp"
PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 \
    .venv/bin/python -m pip install -qq --editable ".[$wanted]" ||
    fail "pip could not install; see the lines above, then run this again"
# Once for each process that is started from here: tests and benches start thousands. Checked against the source
# by its hash, so that what root has compiled is never wrong for those who edit it.
.venv/bin/python -m compileall -q -j 0 --invalidation-mode checked-hash ioc handlers sim tests benchmarks
printf '%s\n%s\n' "$key" "${wanted//,/ }" >"$stamp"

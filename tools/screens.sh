#!/usr/bin/env bash
# Draw the screens: what that needs besides, from Debian and PyPI, is installed here.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# shellcheck source=tools/debian.sh
source tools/debian.sh

mapfile -t missing < <(missing_packages "${SCREEN_PACKAGES[@]}")
if [ ${#missing[@]} -gt 0 ]; then
    is_root || fail "the screens need Debian packages that are not here: sudo apt-get install ${missing[*]}"
    install_packages "${missing[@]}"
fi
tools/setup.sh sim test screens
exec .venv/bin/python tools/draw_screens.py

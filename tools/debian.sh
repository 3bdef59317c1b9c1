# Debian packages: which ones are needed, and how they come. Read by setup.sh and test.sh.
# shellcheck shell=bash disable=SC2034

# What the tests need beyond Python, a line each: package:command  # why
# A command that is not on PATH is given by its whole path, as a pattern.
TEST_PACKAGES=(
    openssl:openssl     # makes the certificates of the mail servers in the tests
    'postgresql:/usr/lib/postgresql/*/bin/initdb'   # the tests run a server of their own
    openssh-server:sshd # other hosts with directories are servers of the tests' own
    openssh-client:ssh-keygen
    tcsh:tcsh           # another login shell than sh
    acl:setfacl         # directories with access lists; as root also: lets the test user read a closed checkout
)

# What Qt needs to draw the screens without a display (`make screens`).
SCREEN_PACKAGES=(
    libegl1:/usr/lib/*/libEGL.so.1
    libgl1:/usr/lib/*/libGL.so.1
    libxkbcommon0:/usr/lib/*/libxkbcommon.so.0
    libdbus-1-3:/usr/lib/*/libdbus-1.so.3
    libfontconfig1:/usr/lib/*/libfontconfig.so.1
    fonts-liberation:/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf
    fonts-droid-fallback:/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf  # names in other scripts
)

say() { printf '%s\n' "$*" >&2; }
fail() { say "beamtime-ioc: $*"; exit 1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# is_here COMMAND  ->  it is on PATH or where only root looks, or something fits its path
is_here() {
    case $1 in
        /*) compgen -G "$1" >/dev/null ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null ;;
    esac
}

# missing_packages package:command ...  ->  the packages whose command is not here
missing_packages() {
    local entry
    for entry in "$@"; do
        is_here "${entry#*:}" || printf '%s\n' "${entry%%:*}"
    done
}

# Debian's postgresql makes a server and starts it for good, unless this file says otherwise.
no_server=/etc/postgresql-common/createcluster.d/beamtime-tests.conf
# Debian starts every server that it installs, unless this program says that it may not.
no_start=/usr/sbin/policy-rc.d

# install_packages package ...  (as root)
install_packages() {
    local directory=${no_server%/*} status=0
    mkdir -p "$directory"
    printf 'create_main_cluster = false\n' >"$no_server"
    local ours=
    if [ ! -e "$no_start" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$no_start"
        chmod 755 "$no_start"
        ours=1
    fi
    (apt_install "$@") || status=$?
    case " $* " in *' openssh-server '*) systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || true ;; esac
    # Whoever wants a server of the system later gets one.
    rm -f "$no_server"
    [ -z "$ours" ] || rm -f "$no_start"
    rmdir --ignore-fail-on-non-empty --parents "$directory" 2>/dev/null || true
    [ "$status" -eq 0 ] || exit "$status"
}

# apt_install package ...  (as root)
apt_install() {
    command -v apt-get >/dev/null || fail "this is no Debian (no apt-get here): install what corresponds to: $*"
    say "installing Debian packages: $*"
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=120)
    local install=("${apt[@]}" install --yes --no-install-recommends "$@")
    export DEBIAN_FRONTEND=noninteractive
    # A bare image has no lists yet, or old ones: only then are they fetched.
    "${install[@]}" >/dev/null 2>&1 || { "${apt[@]}" update >/dev/null && "${install[@]}" >/dev/null; } ||
        fail "apt-get could not install $*; see the lines above, then run this again"
}

# as_user UID GID command ...  (as root; the working directory is /, which everybody may enter)
as_user() {
    local uid=$1 gid=$2
    shift 2
    (cd / && exec setpriv --reuid="$uid" --regid="$gid" --clear-groups -- "$@")
}

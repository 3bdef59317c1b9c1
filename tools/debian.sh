# Debian packages: which ones are needed, and how they come. Read by setup.sh and test.sh.
# shellcheck shell=bash disable=SC2034

# What the tests need beyond Python, a line each: package:command  # why
TEST_PACKAGES=(
    openssl:openssl     # makes the certificates of the mail servers in the tests
)
# What `make test` needs as root besides.
ROOT_PACKAGES=(
    acl:setfacl         # lets the test user read a checkout that only root may enter
)

say() { printf '%s\n' "$*" >&2; }
fail() { say "beamtime-ioc: $*"; exit 1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# missing_packages package:command ...  ->  the packages whose command is not here
missing_packages() {
    local entry
    for entry in "$@"; do
        command -v "${entry#*:}" >/dev/null || PATH="$PATH:/usr/sbin:/sbin" command -v "${entry#*:}" >/dev/null ||
            printf '%s\n' "${entry%%:*}"
    done
}

# install_packages package ...  (as root)
install_packages() {
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

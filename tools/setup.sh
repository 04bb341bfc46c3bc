#!/bin/sh
# Makes sure that the tools named on the command line are here and new enough:
#
#     tools/setup.sh rust c c++ go python venv python-dev valgrind strace cmake pkg-config npm
#
# What is missing is installed from Debian's packages when this runs as root on a system that has apt-get; otherwise it
# says what to install and fails. It never goes on without a tool, so a check cannot be skipped unseen.
set -eu
cd "$(dirname "$0")/.."

refreshed=
install() { # install PACKAGE... : only from the system's own archive
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        return 1
    fi
    echo "setup: installing $*"
    if [ -z "$refreshed" ]; then
        DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >/dev/null || return 1
        refreshed=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

fail() {
    echo "setup: $*" >&2
    exit 1
}

need() { # need COMMAND PACKAGE...
    command=$1
    shift
    command -v "$command" >/dev/null 2>&1 && return
    install "$@" || fail "\`$command\` is missing and could not be installed here; on Debian: apt-get install $*"
    command -v "$command" >/dev/null 2>&1 || fail "\`$command\` is still missing after installing $*"
}

at_least() { # at_least WANTED GOT : compares versions
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
    if ! command -v cargo >/dev/null 2>&1; then
        # Debian's own cargo is older than we need; its rustup package (from Debian 13) brings a current one.
        install rustup && rustup default stable || fail "Rust is missing; install Rust $wanted or newer with rustup"
    fi
    got=$(cargo --version | cut -d ' ' -f 2)
    at_least "$wanted" "$got" || fail "cargo is $got, $wanted or newer is needed: rustup update stable"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    rustup component add rustfmt clippy || fail "rustfmt and clippy are missing: rustup component add rustfmt clippy"
}

go_tool() {
    wanted=$(sed -n 's/^go \([0-9.]*\)$/\1/p' bindings/go/go.mod)
    PATH="$PATH:/usr/local/go/bin"
    need go golang-go
    got=$(go env GOVERSION | sed 's/^go//; s/ .*//')
    at_least "$wanted" "$got" || fail "go is $got, $wanted or newer is needed (newer Debian: golang-go from backports)"
    need gcc gcc libc6-dev
}

for tool in "$@"; do
    case $tool in
        rust) need cc gcc libc6-dev && rust ;;
        c) need gcc gcc libc6-dev && need make make ;;
        c++) need g++ g++ ;;
        go) go_tool ;;
        python) need python3 python3 ;;
        venv) python3 -c 'import ensurepip' 2>/dev/null || install python3-venv || fail "apt-get install python3-venv" ;;
        python-dev) # for packages that are compiled here
            python3 -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
                install python3-dev || fail "apt-get install python3-dev" ;;
        valgrind) need valgrind valgrind libc6-dbg ;;
        strace) need strace strace ;;
        cmake) need cmake cmake ;;
        pkg-config) need pkg-config pkg-config ;;
        npm) need npm npm ;;
        *) fail "no such tool: $tool" ;;
    esac
done

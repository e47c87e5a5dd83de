#!/usr/bin/env bash
# usage: scripts/venv.sh VENV LOCK PROJECT
#
# Makes VENV with the newest CPython from 3.11 on that can make one, installs LOCK into it, hashes enforced, and then
# PROJECT, a directory of this checkout, as an editable one: LOCK holds what it depends on and what builds it.
# Does nothing when VENV already holds exactly these; picks up where an interrupted run stopped.
set -euo pipefail

say() { printf 'venv: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# A shim on the PATH may exist and still not run, so every candidate is asked rather than looked at.
usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (sys.implementation.name == "cpython" and sys.version_info >= (3, 11)))' \
        >/dev/null 2>&1
}

# Prints the interpreter to use. Names on the PATH come first: they are what the user chose.
find_python() {
    local name candidate
    for name in python3.14 python3.13 python3.12 python3.11 python3; do
        candidate=$(command -v "$name") && usable "$candidate" && { printf '%s\n' "$candidate"; return; }
    done
    for name in 3.14 3.13 3.12 3.11; do
        for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$name".*/bin/python3; do
            usable "$candidate" && { printf '%s\n' "$candidate"; return; }
        done
    done
    return 1
}

install_python() {
    command -v apt-get >/dev/null || die "no CPython 3.11 or newer with venv and ensurepip was found: install one, then repeat"
    if [ "$(id -u)" != 0 ]; then
        die "no CPython 3.11 or newer with venv and ensurepip was found: sudo apt-get update && sudo apt-get install python3-venv"
    fi
    say "installing python3-venv"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    local version
    for version in 3.14 3.13 3.12 3.11; do   # the system's own python3 may be older than we need
        find_python >/dev/null && return
        if apt-cache show "python$version-venv" >/dev/null 2>&1; then
            apt-get install -y -qq --no-install-recommends "python$version-venv" >/dev/null
        fi
    done
}

# uv does not read pip's configuration; a mirror set there is meant for it too.
use_pips_index() {
    [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] || return 0
    local index
    index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
    [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
}

# pip and uv bring lists of certificate authorities. Those of this machine count instead, or those that somebody has
# named for either of them.
use_certificates() {
    local file pips
    pips=${PIP_CERT:-$("$python" -m pip config get global.cert 2>/dev/null || true)}
    for file in "${SSL_CERT_FILE:-}" "$pips" "${REQUESTS_CA_BUNDLE:-}" "${CURL_CA_BUNDLE:-}" \
        /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
        [ -f "$file" ] || continue
        export SSL_CERT_FILE="${SSL_CERT_FILE:-$file}" PIP_CERT="${pips:-$file}"
        return
    done
    export UV_SYSTEM_CERTS=true   # macOS, for one, has them in no file
}

install_lock() {
    # uv, at the version and hash of the lock, installs the rest some ten times faster than pip does.
    local first
    first=$(mktemp "${TMPDIR:-/tmp}/lambdasmith-uv.XXXXXX")
    awk '/^uv==/ { inside = 1 } inside { print; if ($0 !~ /\\$/) exit }' "$lock" >"$first"
    if [ -s "$first" ] && "$python" -m pip install "${pip_options[@]}" -r "$first" && use_pips_index \
        && "$venv/bin/uv" pip sync --quiet --python "$python" --require-hashes "$lock"; then
        rm -f "$first"
        return
    fi
    rm -f "$first"
    say "uv could not install the lock; trying pip"
    "$python" -m pip install "${pip_options[@]}" -r "$lock"
}

# A directory that is worked on has no hash, so it is installed by itself, with nothing fetched: no dependencies, and its
# build backend is the lock's.
install_project() {
    if [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip install --quiet --python "$python" --offline --no-deps \
        --no-build-isolation --editable "$project"; then
        return
    fi
    say "uv could not install $project; trying pip"
    "$python" -m pip install --quiet --no-input --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        --editable "$project"
}

[ $# = 3 ] || die "usage: scripts/venv.sh VENV LOCK PROJECT"
venv=$1 lock=$2 project=$(cd "$3" && pwd) python=$1/bin/python stamp=$1/.installed
pip_options=(--quiet --no-input --disable-pip-version-check --require-hashes)

if ! "$python" -m pip --version >/dev/null 2>&1; then
    found=$(find_python) || { install_python; found=$(find_python) || die "no CPython 3.11 or newer to be had here"; }
    say "making $venv with $("$found" -V 2>&1)"
    rm -rf "$venv"
    "$found" -m venv "$venv"
fi

# The project's path is in it: a copy of a checkout, .venv included, would go on with the original's code.
hash=$("$python" - "$project" "$lock" "$project/pyproject.toml" <<'END'
import hashlib, sys
made = hashlib.sha256(sys.argv[1].encode())
for name in sys.argv[2:]:
    made.update(open(name, "rb").read())
print(made.hexdigest())
END
)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$hash" ]; then
    touch "$stamp"   # newer than the lock again, so that make stays quiet
    exit 0
fi
rm -f "$stamp"
say "installing $lock"
use_certificates
install_lock
say "installing $project"
install_project
printf '%s\n' "$hash" >"$stamp.new"
mv "$stamp.new" "$stamp"

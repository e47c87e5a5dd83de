"""Keeps the builder's memory and environment from other processes of its user: children, and what they start.

On Lambda everything runs as one user, and a process that may trace another may read its memory and its original
environment. Deleting from `os.environ` changes neither.
"""

from __future__ import annotations

import ctypes
import functools

_PR_SET_DUMPABLE = 4
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)


@functools.cache
def conceal() -> None:
    """Make this process untraceable for its own user, and erase AWS's credentials from its original environment.

    Python's `os.environ` is a copy, and keeps them. A child is traceable again after its exec.

    Raises:
        OSError: the kernel refuses; then no foreign code may run.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # From here on /proc/PID/{environ,mem,maps,fd} are root's: https://man7.org/linux/man-pages/man5/proc.5.html
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    libc.getenv.restype = ctypes.c_void_p
    # The kernel keeps the original environment readable for processes of this user until it is overwritten in place.
    for name in _CREDENTIALS:
        if place := libc.getenv(name.encode()):
            ctypes.memset(place, ord("*"), len(ctypes.string_at(place)))

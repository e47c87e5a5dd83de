"""Machines by the names that Lambda has for them: "x86_64" and "arm64"."""

from __future__ import annotations

import platform

__all__ = ["ELF_HEAD_BYTES", "elf_machine", "machine_here"]

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
ELF_HEAD_BYTES = 20
_ELF = {62: "x86_64", 183: "arm64"}  # e_machine: EM_X86_64, EM_AARCH64


def machine_here() -> str:
    """This machine; its own name for it if Lambda has none."""
    name = platform.machine().lower()
    return _MACHINES.get(name, name)


def elf_machine(head: bytes) -> str | None:
    """The machine that an ELF file is for, by its first ELF_HEAD_BYTES; None for anything else."""
    return _ELF.get(int.from_bytes(head[18:20], "little")) if head[:4] == b"\x7fELF" else None

"""npm projects for tests: package.json and the lock of a few small packages, as npm writes them."""

from __future__ import annotations

import json
from typing import Any

_CRC32 = "@node-rs/crc32"
_NATIVE = {
    ("x64", "glibc"): "sha512-IfjtqcuFK7JrSZ9mlAFhb83xgium30PguvRjIMI45C3FJwu18bnLk1oR619IYb/zetQT82MObgmqfKOtgemEKw==",
    ("x64", "musl"): "sha512-LbFYsA5M9pNunOweSt6uhxenYQF94v3bHDAQRPTQ3rnjn+mK6IC7YTAYoBjvoJP8lVzcvk9hRj8wp4Jyh6Y80g==",
    (
        "arm64",
        "glibc",
    ): "sha512-LmWcfDbqAvypX0bQjQVPmQGazh4dLiVklkgHxpV4P0TcQ1DT86H/SWpMBMs/ncF8DGuCQ05cNyMv1iddUDugoQ==",
}
_BUNDLER = {
    "x64": "sha512-4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ==",
    "arm64": "sha512-pW4AC0P3it8c7do9MVM4p51FzHzdM/TZrerurgRcHJ2WTa1VQ1CIq18xncfpBJw4ojkiZZrKW2yIBWBP92j6Ug==",
}


def _native() -> dict[str, dict[str, Any]]:
    """A package with a program for each machine, C library named or not, as older npm leaves it out."""
    names = {key: f"{_CRC32}-linux-{key[0]}-{'gnu' if key[1] == 'glibc' else 'musl'}" for key in _NATIVE}
    parts = {
        f"node_modules/{names[key]}": {
            "version": "1.10.6",
            "integrity": integrity,
            "cpu": [key[0]],
            "os": ["linux"],
            "optional": True,
        }
        for key, integrity in _NATIVE.items()
    }
    whole = {
        "version": "1.10.6",
        "integrity": "sha512-+llXfqt+UzgoDzT9of5vPQPGqTAVCohU74I9zIBkNo5TH6s2P31DFJOGsJQKN207f0GHnYv5pV3wh3BCY/un/A==",
        "engines": {"node": ">= 10"},
        "optionalDependencies": dict.fromkeys(names.values(), "1.10.6"),
    }
    return {f"node_modules/{_CRC32}": whole, **parts}


def _bundler() -> dict[str, dict[str, Any]]:
    parts = {
        f"node_modules/@esbuild/linux-{cpu}": {
            "version": "0.28.2",
            "integrity": integrity,
            "cpu": [cpu],
            "os": ["linux"],
            "optional": True,
        }
        for cpu, integrity in _BUNDLER.items()
    }
    whole = {
        "version": "0.28.2",
        "integrity": "sha512-HKVLS8dvII+xoKW9kmqxbRKrnWEXfJJr/FZhhJmiqIB0e053QNYFqOBouTMO/k5sID4MvCiUCvv8b9M4h32wIA==",
        "hasInstallScript": True,
        "optionalDependencies": {f"@esbuild/linux-{cpu}": "0.28.2" for cpu in _BUNDLER},
    }
    return {"node_modules/esbuild": whole, **parts}


MS = "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="
_PACKAGES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "ms": ("2.1.3", {"node_modules/ms": {"version": "2.1.3", "integrity": MS}}),
    _CRC32: ("1.10.6", _native()),
    "esbuild": ("0.28.2", _bundler()),
}


def project(*names: str, dev: tuple[str, ...] = (), local: tuple[str, ...] = (), **manifest: object) -> dict[str, str]:
    """package.json and package-lock.json; `local` are directories with packages of the same name."""
    asked: dict[str, Any] = {
        "dependencies": {name: _PACKAGES[name][0] for name in names} | {name: f"file:{name}" for name in local},
        "devDependencies": {name: _PACKAGES[name][0] for name in dev},
    }
    packages: dict[str, Any] = {"": {"name": "app", **asked}}
    for name in local:
        packages |= {name: {"version": "1.0.0"}, f"node_modules/{name}": {"resolved": name, "link": True}}
    for name in (*names, *dev):
        flag = {"dev": True} if name in dev else {}
        packages |= {place: {**entry, **flag} for place, entry in _PACKAGES[name][1].items()}
    lock = {"name": "app", "lockfileVersion": 3, "requires": True, "packages": packages}
    return {
        "package.json": json.dumps({"name": "app", **asked, **manifest}, indent=1),
        "package-lock.json": json.dumps(lock, indent=1),
    }

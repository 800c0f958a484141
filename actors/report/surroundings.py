"""Where a run ran: the machine and the versions, so that figures can be compared."""

from __future__ import annotations

__all__ = ("machine_facts", "version_facts")

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "veredus",
    "ray",
    "rocksdict",
    "cryptography",
    "minijinja",
    "msgspec",
    "uvloop",
    "tzdata",
)


def machine_facts(
    cpuinfo: Path = Path("/proc/cpuinfo"), meminfo: Path = Path("/proc/meminfo")
) -> dict[str, str]:
    """Tell CPU, cores, AVX-512 IFMA (it makes RSA signatures three times as fast), memory and system."""
    cpu = _fields(cpuinfo)
    facts = {
        "CPU": cpu.get("model name", platform.processor() or "unknown"),
        "cores": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        "AVX-512 IFMA": "yes" if "avx512ifma" in cpu.get("flags", "").split() else "no",
        "system": f"{platform.system()} {platform.release()}",
    }
    total = _fields(meminfo).get("MemTotal", "").partition(" ")[0]
    if total.isdigit():
        facts["memory"] = f"{int(total) / 2**20:.1f} GiB"
    return facts


def version_facts(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Tell the versions of Python and of the packages that figures depend on; what isn't installed is left out."""
    facts = {"python": platform.python_version()}
    for package in packages:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def _fields(path: Path) -> dict[str, str]:
    """Read `key : value` lines of a file of /proc; of repeated keys the first. Nothing where there is no such file."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found

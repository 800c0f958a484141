"""MTA-STS policies in files, one a domain, so that a restart doesn't open the door to a downgrade. RFC 8461 §10.2."""

from __future__ import annotations

__all__ = ("StsFiles",)

from hashlib import blake2b
from pathlib import Path

import msgspec

from deliverability.policy.sts_cache import KeptPolicy


class StsFiles:
    """The files of one folder; workers share it. A file that can't be read counts as none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, domain: str) -> KeptPolicy:
        """Read what is kept of a domain."""
        try:
            return msgspec.json.decode(self._file(domain).read_bytes(), type=KeptPolicy)
        except (OSError, msgspec.MsgspecError):
            return KeptPolicy()

    def put(self, domain: str, kept: KeptPolicy) -> None:
        """Write it in the place of the old one. A full disk costs another fetch, no mail."""
        file = self._file(domain)
        made = file.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            made.write_bytes(msgspec.json.encode(kept))
            made.replace(file)
        except OSError:
            made.unlink(missing_ok=True)

    def _file(self, domain: str) -> Path:
        return self._folder / f"{blake2b(domain.encode(), digest_size=12).hexdigest()}.json"

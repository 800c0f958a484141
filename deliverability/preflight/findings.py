"""What a preflight finds: verdicts with their reasons, and what it could not check."""

from __future__ import annotations

__all__ = ("Finding", "Notes", "Report", "Unchecked", "Verdict")

import msgspec

from deliverability.preflight.demands import CHECKS, Demand, Verdict

_SHOWN_MAX = 400  # characters of what was found: a hostile message doesn't make the report


class Finding(msgspec.Struct, frozen=True):
    """One result of one check.

    `subject` is what was looked at (an address, a domain, a field), `mend` "" where nothing is to be mended.
    """

    check: str
    title: str
    verdict: Verdict
    subject: str
    found: str
    mend: str
    demanded_by: tuple[Demand, ...]


class Unchecked(msgspec.Struct, frozen=True):
    """A check that could not be made, and what it needs."""

    check: str
    title: str
    needs: str


class Report(msgspec.Struct, frozen=True):
    """All of a preflight. Findings that block come first, then warnings, each in the order of the catalogue."""

    target: str
    kind: str
    made: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[str, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Count findings of a verdict."""
        return sum(finding.verdict is verdict for finding in self.findings)


class Notes:
    """Collects findings while checks run."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._unchecked: list[Unchecked] = []

    def passed(self, check: str, subject: str, found: str) -> None:
        """Note that a check is passed."""
        self._add(check, Verdict.PASS, subject, found, "")

    def failed(
        self, check: str, subject: str, found: str, mend: str, verdict: Verdict | None = None
    ) -> None:
        """Note that a check isn't passed; it weighs what the catalogue says, unless told otherwise."""
        self._add(check, verdict or CHECKS[check].weight, subject, found, mend)

    def unchecked(self, check: str, needs: str) -> None:
        """Note that a check could not be made, and what it needs."""
        self._unchecked.append(Unchecked(check, CHECKS[check].title, needs))

    def report(self, target: str, kind: str, made: int, notes: tuple[str, ...] = ()) -> Report:
        """Give the report."""
        order = list(CHECKS)
        weight = [Verdict.BLOCK, Verdict.WARN, Verdict.PASS]
        findings = sorted(
            self._findings, key=lambda one: (weight.index(one.verdict), order.index(one.check))
        )
        verdict = findings[0].verdict if findings else Verdict.PASS
        unchecked = sorted(self._unchecked, key=lambda one: order.index(one.check))
        return Report(target, kind, made, verdict, tuple(findings), tuple(unchecked), notes)

    def _add(self, check: str, verdict: Verdict, subject: str, found: str, mend: str) -> None:
        known = CHECKS[check]
        clean = "".join(char if char.isprintable() else "�" for char in found)
        shown = clean if len(clean) <= _SHOWN_MAX else clean[: _SHOWN_MAX - 1] + "…"
        finding = Finding(check, known.title, verdict, subject, shown, mend, known.demands)
        self._findings.append(finding)

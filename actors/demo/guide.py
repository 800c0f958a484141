"""The words at the end of the demo: what was made, and what to do next."""

from __future__ import annotations

__all__ = ("guide",)

from pathlib import Path


def guide(report: Path, inbox: Path) -> str:
    """Tell a newcomer where to look; commands are complete, so that they can be copied."""
    return f"""\
The report      {report}
                opens in any browser, offline; the same figures are beside it as JSON.
The mails       veredus twin --inbox --data {inbox}
                shows them in a browser: HTML, text, headers, signatures.

Your own log    veredus demo --events LOG.ndjson
                one object a line: {{"event", "contact", "at", "data"}}. For CSV: veredus replay LOG.csv --map MAP.toml
                --scenario FILE. docs/event-log.md has both forms.
Your scenarios  veredus scenario check FILE
                copy one of the demo's (actors/demo/scenarios), change it, and see every mistake at once.
For real        veredus init, then veredus up
                writes a commented configuration; mail goes to twins until you say otherwise.
"""

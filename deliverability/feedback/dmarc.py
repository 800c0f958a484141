"""DMARC aggregate reports (RFC 7489 §7.2 and appendix C; RFC 9990), from XML as it really comes.

Reports in the wild break their schema: no declaration, wrong or no namespace, upper-case results, invalid UTF-8,
missing ends, text before or behind. The reader is a small pull scanner of tags, not an XML parser: it knows no
entities
but the five predefined ones and character references, so that neither expansion nor external entities exist, and it
works in one pass whatever the nesting.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from deliverability.feedback.limits import UNPACKED_BYTES, XML_DEPTH, XML_RECORDS
from deliverability.feedback.reading import DmarcReport

__all__ = ("looks_like_dmarc", "read_dmarc")

_SOURCES = 1_000
_TAGS = 2_000_000
_TAG = re.compile(r"<(/?)([A-Za-z_][\w.:-]{0,80})[^<>]{0,2000}?(/?)>")
_SKIPPED = (("<!--", "-->"), ("<?", "?>"), ("<!", ">"))
_CDATA = "<![CDATA["
_ROOT = re.compile(rb"<(?:[\w.-]+:)?feedback[\s>]", re.IGNORECASE)


def looks_like_dmarc(data: bytes) -> bool:
    """Say whether the bytes hold the root element of an aggregate report near their start."""
    head = data[:65_536]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\x00", b"")
    return b"feedback" in head.lower() and _ROOT.search(head) is not None


def read_dmarc(data: bytes) -> DmarcReport | None:
    """Read one aggregate report; None if it names neither report nor domain nor record.

    The totals are counted over all records that are whole; a report that is cut off gives what it has.
    """
    text = _text(data[:UNPACKED_BYTES])
    facts: dict[str, str] = {}
    totals = _Totals()
    record: dict[str, str] = {}
    for path, value in _leaves(text):
        if "record" in path:
            if path[-1] == "record":
                totals.add(record)
                record = {}
                if totals.records >= XML_RECORDS:
                    break
                continue
            key = "/".join(path[path.index("record") + 1 :])
            record.setdefault(key, value)
        else:
            facts.setdefault("/".join(path[-2:]), value)
            facts.setdefault(path[-1], value)
    totals.add(record)
    if not totals.records and not facts.get("report_id"):
        return None
    return _report(facts, totals)


class _Totals:
    """Sums over the records of a report."""

    def __init__(self) -> None:
        self.records = self.messages = self.dkim = self.spf = self.passed = 0
        self.sources: dict[str, list[int]] = {}

    def add(self, record: dict[str, str]) -> None:
        """Count one record by the results that its receiver evaluated (RFC 7489 appendix C, PolicyEvaluated)."""
        if not record:
            return
        count = _number(record.get("row/count", ""))
        dkim = record.get("row/policy_evaluated/dkim", "").lower() == "pass"
        spf = record.get("row/policy_evaluated/spf", "").lower() == "pass"
        self.records += 1
        self.messages += count
        self.dkim += count * dkim
        self.spf += count * spf
        self.passed += count * (dkim or spf)
        source = record.get("row/source_ip", "")
        if source in self.sources or len(self.sources) < _SOURCES:
            entry = self.sources.setdefault(source, [0, 0])
            entry[0] += count
            entry[1] += count * (dkim or spf)


def _report(facts: dict[str, str], totals: _Totals) -> DmarcReport:
    return DmarcReport(
        org_name=facts.get("report_metadata/org_name", facts.get("org_name", "")),
        report_id=facts.get("report_metadata/report_id", facts.get("report_id", "")),
        domain=facts.get("policy_published/domain", facts.get("domain", "")),
        messages=totals.messages,
        dkim_aligned=totals.dkim,
        spf_aligned=totals.spf,
        dmarc_pass=totals.passed,
        begin_s=_number(facts.get("date_range/begin", "")),
        end_s=_number(facts.get("date_range/end", "")),
        policy=facts.get("policy_published/p", "").lower(),
        sources=tuple((ip, count, good) for ip, (count, good) in totals.sources.items()),
    )


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def _leaves(text: str) -> Iterator[tuple[list[str], str]]:
    """Each closed element that has text, as (path, text); a closed `record` with ""."""
    stack: list[str] = []
    content: list[str] = []
    for sign, name, words in _tokens(text):
        if not name:
            content.append(words)
        elif sign == "open":
            content = []
            if len(stack) < XML_DEPTH:
                stack.append(name)
        else:
            if name in stack[-3:]:
                while stack[-1] != name:
                    stack.pop()
                value = "".join(content).strip()
                if value or name == "record":
                    yield stack, value
                stack.pop()
            content = []


def _tokens(text: str) -> Iterator[tuple[str, str, str]]:
    """Tags as (`open` or `close`, local name, "") and text as ("", "", words), front to back, each character once."""
    at, size, tags = 0, len(text), 0
    while at < size and tags < _TAGS:
        start = text.find("<", at)
        start = size if start < 0 else start
        if start > at:
            words = text[at:start]
            yield "", "", html.unescape(words) if "&" in words else words
        if text.startswith(_CDATA, start):
            end = text.find("]]>", start)
            end = size if end < 0 else end
            yield "", "", text[start + len(_CDATA) : end]
            at = end + 3
            continue
        skipped = next((close for mark, close in _SKIPPED if text.startswith(mark, start)), "")
        tag = None if skipped else _TAG.match(text, start)
        if skipped:
            end = text.find(skipped, start + 2)
            at = size if end < 0 else end + len(skipped)
        elif tag is None:
            at, tags = start + 1, tags + 1
        else:
            at, tags = tag.end(), tags + 1
            if not tag.group(3):
                yield "close" if tag.group(1) else "open", _local(tag.group(2)), ""


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()


def _number(value: str) -> int:
    try:
        return max(0, int(value.strip()[:18].partition(".")[0]))
    except ValueError:
        return 0

"""The mails that a twin kept, read from its folder; also while the twin is writing.

Mails have numbers, counting from 1 over the life of the folder; the oldest ones go as newer ones
come.
"""

from __future__ import annotations

__all__ = ("Caught", "CaughtMail", "Summary")

import bisect
from collections import OrderedDict
from pathlib import Path

import msgspec

from actors.twin.reading import HeaderSummary, summarize
from actors.twin.record import INDEX_ENTRY, MailHead, Segment, segments

_SUMMARIES_MAX = 20_000
_HEADER_OCTETS_MAX = 65_536


class CaughtMail(msgspec.Struct, frozen=True):
    """One kept mail, whole."""

    number: int
    head: MailHead
    content: bytes


class Summary(msgspec.Struct, frozen=True):
    """What a list shows of a mail."""

    number: int
    at: int
    subject: str
    sender: str
    recipients: tuple[str, ...]
    providers: tuple[str, ...]
    message_id: str
    size: int


class Caught:
    """A twin's folder, as far as it can be read now. A folder that isn't there holds no mails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._summaries: OrderedDict[int, Summary] = OrderedDict()
        self._decode = msgspec.json.Decoder(MailHead).decode

    def numbers(self) -> range:
        """Give the numbers of the mails that are there, oldest first."""
        found = segments(self._folder)
        if not found:
            return range(1, 1)
        return range(found[0].first, found[-1].first + found[-1].mails())

    def mail(self, number: int) -> CaughtMail | None:
        """Read a mail; None where it isn't there, or no more."""
        raw = self._read(number, None)
        if raw is None:
            return None
        head, content, _ = raw
        return CaughtMail(number, head, content)

    def search(self, words: str, start: int, count: int) -> tuple[int, list[Summary]]:
        """Find mails, newest first: how many match, and `count` of them from the `start`th.

        Each word must occur in subject, From, a recipient, a provider or the Message-ID; case
        doesn't matter. Without words no mail but those given back is read.
        """
        numbers = self.numbers()
        wanted = words.casefold().split()
        if not wanted:
            page = reversed(numbers[max(0, len(numbers) - start - count) : len(numbers) - start])
            found = [self.summary(number) for number in page] if start < len(numbers) else []
            return len(numbers), [one for one in found if one is not None]
        matches = [
            summary
            for number in reversed(numbers)
            if (summary := self.summary(number)) is not None and _matches(summary, wanted)
        ]
        return len(matches), matches[start : start + count]

    def summary(self, number: int) -> Summary | None:
        """Give what a list shows of a mail."""
        known = self._summaries.get(number)
        if known is not None:
            return known
        raw = self._read(number, _HEADER_OCTETS_MAX)
        if raw is None:
            return None
        head, content, size = raw
        summary = _summary(number, head, summarize(content), size)
        self._summaries[number] = summary
        if len(self._summaries) > _SUMMARIES_MAX:
            self._summaries.popitem(last=False)
        return summary

    def _read(self, number: int, octets_max: int | None) -> tuple[MailHead, bytes, int] | None:
        """Read head and content (or its beginning), and tell the content's size."""
        segment = self._segment(number)
        if segment is None:
            return None
        try:
            with segment.index_path.open("rb") as index:
                index.seek((number - segment.first) * INDEX_ENTRY.size)
                entry = index.read(INDEX_ENTRY.size)
            if len(entry) < INDEX_ENTRY.size:
                return None
            offset, head_octets, size = INDEX_ENTRY.unpack(entry)
            with segment.path.open("rb") as mails:
                mails.seek(offset)
                head = mails.read(head_octets)
                content = mails.read(size if octets_max is None else min(size, octets_max))
            return self._decode(head), content, size
        except (FileNotFoundError, msgspec.DecodeError):
            # The twin may just have dropped the segment; a torn head is a mail that isn't there.
            return None

    def _segment(self, number: int) -> Segment | None:
        found = segments(self._folder)
        position = bisect.bisect_right([segment.first for segment in found], number) - 1
        return found[position] if position >= 0 and number > 0 else None


def _summary(number: int, head: MailHead, header: HeaderSummary, size: int) -> Summary:
    return Summary(
        number=number,
        at=head.at,
        subject=header.subject,
        sender=header.sender,
        recipients=tuple(path for path, _ in head.recipients),
        providers=tuple(dict.fromkeys(provider for _, provider in head.recipients)),
        message_id=header.message_id,
        size=size,
    )


def _matches(summary: Summary, words: list[str]) -> bool:
    text = "\n".join(
        (
            summary.subject,
            summary.sender,
            *summary.recipients,
            *summary.providers,
            summary.message_id,
        )
    ).casefold()
    return all(word in text for word in words)

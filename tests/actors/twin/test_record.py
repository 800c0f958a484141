"""The record of a twin, written and read back."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.twin.caught import Caught
from actors.twin.record import (
    MailHead,
    Received,
    Recorder,
    RecorderOptions,
    header_of,
    message_id_of,
    segments,
    signed,
)


def head(number: int) -> MailHead:
    return MailHead(number, f"b+{number}@s.example", ((f"u{number}@p.example", "plain"),))


def content(number: int) -> bytes:
    return f"Subject: mail {number}\r\nMessage-ID: <{number}@s>\r\n\r\nbody {number}\r\n".encode()


def write(recorder: Recorder, numbers: range) -> None:
    for number in numbers:
        recorder.mail(head(number), content(number))
        recorder.line(Received(f"{number}@s", number, "", "", "plain", len(content(number))))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Each kept mail comes back under its number with envelope and content, octet by octet."""
    recorder = Recorder(tmp_path)
    write(recorder, range(1, 11))
    recorder.close()
    caught = Caught(tmp_path)
    assert caught.numbers() == range(1, 11)
    for number in caught.numbers():
        mail = caught.mail(number)
        assert mail is not None
        assert (mail.head, mail.content) == (head(number), content(number))
    assert caught.mail(0) is None
    assert caught.mail(11) is None


def test_the_newest_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    """At most `keep` mails stay, three quarters of them or more, while every mail has its line."""
    recorder = Recorder(tmp_path, RecorderOptions(keep=20))
    for number in range(1, 101):
        write(recorder, range(number, number + 1))
        recorder.flush()
        numbers = Caught(tmp_path).numbers()
        assert numbers[-1] == number
        assert min(number, 15) <= len(numbers) <= 20
    recorder.close()
    assert (recorder.lines, recorder.kept) == (100, 100)
    assert len((tmp_path / "received.ndjson").read_bytes().splitlines()) == 100
    first = Caught(tmp_path).mail(Caught(tmp_path).numbers()[0])
    assert first is not None
    assert first.content == content(first.number)


def test_keep_nothing_and_keep_each_nth(tmp_path: Path) -> None:
    """`keep` 0 writes no content at all; `keep_every` leaves the others out."""
    none = Recorder(tmp_path / "none", RecorderOptions(keep=0))
    write(none, range(10))
    none.close()
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["received.ndjson"]
    third = Recorder(tmp_path / "third", RecorderOptions(keep_every=3))
    write(third, range(10))
    third.close()
    kept = [Caught(tmp_path / "third").mail(number) for number in range(1, 5)]
    assert [mail.head.at for mail in kept if mail] == [0, 3, 6, 9]


def test_a_second_recorder_goes_on_numbering(tmp_path: Path) -> None:
    """Opened again, the record grows; with `fresh` the lines begin anew."""
    for options in (RecorderOptions(), RecorderOptions(), RecorderOptions(fresh=True)):
        recorder = Recorder(tmp_path, options)
        write(recorder, range(3))
        recorder.close()
        recorder.close()
    assert Caught(tmp_path).numbers() == range(1, 10)
    assert len((tmp_path / "received.ndjson").read_bytes().splitlines()) == 3


def test_a_crash_leaves_a_readable_folder(tmp_path: Path) -> None:
    """A torn index entry and an empty segment are as if they weren't there."""
    recorder = Recorder(tmp_path, RecorderOptions(keep=8))
    write(recorder, range(1, 5))
    recorder.close()
    last = segments(tmp_path)[-1]
    last.index_path.write_bytes(last.index_path.read_bytes()[:-3])
    (tmp_path / "mails-000000000099.dat").write_bytes(b"torn")
    again = Recorder(tmp_path, RecorderOptions(keep=8))
    write(again, range(50, 51))
    again.close()
    caught = Caught(tmp_path)
    assert caught.numbers() == range(1, 5)
    newest = caught.mail(4)
    assert newest is not None
    assert newest.head.at == 50
    assert not (tmp_path / "mails-000000000099.dat").exists()


def test_search(tmp_path: Path) -> None:
    """Every word must occur somewhere, case apart; the newest come first, page by page."""
    recorder = Recorder(tmp_path)
    write(recorder, range(1, 31))
    recorder.close()
    caught = Caught(tmp_path)
    total, found = caught.search("", 0, 4)
    assert (total, [one.number for one in found]) == (30, [30, 29, 28, 27])
    assert [one.number for one in caught.search("", 28, 4)[1]] == [2, 1]
    assert caught.search("", 99, 4) == (30, [])
    total, found = caught.search("MAIL u7@P", 0, 9)
    assert (total, found[0].number, found[0].subject) == (1, 7, "mail 7")
    assert caught.search("mail nothing", 0, 9) == (0, [])
    assert Caught(tmp_path / "absent").search("", 0, 9) == (0, [])


def test_header_is_looked_at_loosely() -> None:
    """Message-ID is found folded, unbracketed, in any case; nothing in the body counts."""
    cases = {
        b"Message-ID: <a@b>\r\n\r\n": "a@b",
        b"Subject: x\r\nMESSAGE-id:\r\n\t<a@b> (comment)\r\nTo: y\r\n\r\n": "a@b",
        b"Message-ID: bare@b \r\n\r\n": "bare@b",
        b"Subject: x\r\n\r\nMessage-ID: <in@body>\r\n": "",
        b"X-Message-ID: <a@b>\r\n\r\n": "",
        b"": "",
    }
    for mail, expected in cases.items():
        assert message_id_of(header_of(mail)) == expected
    assert signed(header_of(b"a: b\r\ndkim-signature : v=1\r\n\r\n"))
    assert not signed(header_of(b"a: b\r\n\r\nDKIM-Signature: v=1\r\n"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_header_of_hostile_content(before: bytes, after: bytes) -> None:
    """Whatever the octets, header functions answer with text."""
    for mail in (before, before + b"\r\nMessage-ID: <" + after, b"message-id:" + before):
        assert isinstance(message_id_of(header_of(mail)), str)
        assert signed(header_of(mail)) in (True, False)


def test_a_line_without_verdict_has_no_signature_field() -> None:
    """The field is there only where a signature was verified."""
    line = Received("a@b", 1, "r", "f", "p", 2)
    assert b"signature" not in msgspec.json.encode(line)
    assert msgspec.json.decode(msgspec.json.encode(line), type=Received) == line

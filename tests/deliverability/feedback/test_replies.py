"""One SMTP reply at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.feedback.replies import classify_reply, find_codes, find_stage, template_of
from deliverability.feedback.taxonomy import MEANINGS, Action, Cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown",
            "mailbox-unknown",
        ),
        ("452 4.2.2 The inbox of this person is full", "mailbox-full"),
        ("421 4.7.0 Too many concurrent connections from your network", "too-many-connections"),
        ("554 5.7.1 Client host [192.0.2.1] blocked using dnsbl.example", "host-listed"),
        (
            "550 5.7.26 Unauthenticated mail from shop.test is refused by its DMARC policy",
            "authentication-failed",
        ),
        ("550 5.7.25 No PTR record for your address", "ptr-missing"),
        ("451 4.7.1 Greylisted, come back in five minutes", "greylisted"),
        ("554 5.7.1 Message looks like spam", "spam-content"),
        ("552 5.3.4 Message too large", "message-too-large"),
        ("550 5.1.2 Domain not found", "domain-unknown"),
        ("550 5.1.6 Recipient no longer on server", "mailbox-moved"),
        (
            "host mx.example.org[192.0.2.1] said: 550 5.2.1 Mailbox disabled (in reply to RCPT TO command)",
            "mailbox-disabled",
        ),
        ("450 4.2.1", "recipient-refused"),
        ("556 5.1.10", "domain-refuses-mail"),
        ("299 what", "undetermined"),
    ],
)
def test_replies_get_their_cause(text: str, cause: str) -> None:
    assert cause == classify_reply("", "", text).cause


@pytest.mark.parametrize(("code", "permanent"), [("550", True), ("450", False), ("", False)])
def test_permanence_is_the_class_of_the_code(code: str, permanent: bool) -> None:
    assert classify_reply(code, "", "whatever").permanent is permanent


def test_user_unknown_is_believed_at_rcpt_and_doubted_after_data() -> None:
    assert classify_reply("550", "", "User unknown", stage="rcpt").hard
    assert not classify_reply("550", "", "User unknown", stage="data").hard
    assert classify_reply("550", "", "User unknown", stage="data").cause is Cause.RECIPIENT_REFUSED


def test_nothing_is_suppressed_for_a_transient_reply() -> None:
    verdict = classify_reply("450", "4.1.1", "User unknown", stage="rcpt")
    assert (
        verdict.cause,
        verdict.action,
        verdict.hard,
    ) == (Cause.MAILBOX_UNKNOWN, Action.RETRY_LATER, False)


def test_the_words_of_the_remote_host_go_before_the_words_around_them() -> None:
    text = "host mx.example.org said: 552 5.2.2 Mailbox full; message expired after 5 days in the queue"
    assert classify_reply("", "", text).cause is Cause.MAILBOX_FULL


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("550 5.1.1 no", ("550", "5.1.1")),
        ("550-5.1.1 no", ("550", "5.1.1")),
        ("<mx.example.org #5.1.1 smtp;550 5.1.1 no>", ("550", "5.1.1")),
        ("554 4.4.7 Message expired.<421 4.4.2 Connection timed out>", ("421", "4.4.2")),
        ("said: 550 no", ("550", "")),
        ("(#5.4.4)", ("", "5.4.4")),
        ("call 192.0.2.550 or 5550 people", ("", "")),
    ],
)
def test_codes_are_found_where_they_are_quoted(text: str, codes: tuple[str, str]) -> None:
    assert codes == find_codes(text)


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("(in reply to RCPT TO command)", "rcpt"),
        ("in reply to end of DATA", "data"),
        ("refused to talk to me", "helo"),
        ("hello", ""),
    ],
)
def test_stages_are_found_in_words(text: str, stage: str) -> None:
    assert stage == find_stage(text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("550 Kein Benutzer dieses Namens: Empfänger nicht gefunden", "mailbox-unknown"),
        ("550 El buzón del cliente está lleno", "mailbox-full"),
        ("550 Konto zablokowane przez operatora", "mailbox-disabled"),
        ("550 Получатель не зарегистрирован", "mailbox-unknown"),
        ("550 ユーザーが見つかりません", "mailbox-unknown"),
        ("554 The sender score of 192.0.2.1 is too low", "low-reputation"),
        ("550 The letter resembles junk mail, refused", "spam-content"),
        ("450 4.4.7 Could not connect in all this time", "timed-out"),
    ],
)
def test_wordings_that_no_strong_rule_has_are_read_by_the_vocabulary(text: str, cause: str) -> None:
    assert cause == classify_reply("", "", text).cause


@pytest.mark.parametrize(
    ("stage", "cause"),
    [("connect", "host-blocked"), ("helo", "host-blocked"), ("mail", "sender-refused")],
)
def test_unknown_words_before_any_recipient_are_about_host_or_sender(
    stage: str, cause: str
) -> None:
    assert cause == classify_reply("554", "", "554 xyzzy", stage=stage).cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("550 Recipient address rejected: Reverse DNS validation failed", "ptr-missing"),
        ("550 Recipient address rejected: User unknown", "recipient-refused"),
        ("554 Transaction failed: two From headers, not RFC 5322 compliant", "not-rfc-compliant"),
        ("421 Connection refused, too many sessions from you", "too-many-connections"),
    ],
)
def test_a_known_reason_behind_a_general_refusal_decides(text: str, cause: str) -> None:
    assert cause == classify_reply("", "", text).cause


def test_like_replies_share_a_template() -> None:
    one = template_of("550 5.1.1 <ann@example.org> unknown b11si4410389ana.36")
    assert one == template_of("550 5.1.1 <bob@example.org> unknown c77zz9981234xyz.12")


def test_every_cause_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Cause)


@given(
    st.text(max_size=400),
    st.sampled_from(["", "550", "421", "x"]),
    st.sampled_from(["", "5.7.1", "4.x", "9.9.9"]),
)
def test_any_text_gets_a_verdict(text: str, code: str, enhanced: str) -> None:
    """Total and deterministic."""
    assert classify_reply(code, enhanced, text) == classify_reply(code, enhanced, text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("550 Postfach ist nicht verfügbar", "mailbox-unknown"),
        ("550 Postfach ist nicht verfuegbar", "mailbox-unknown"),
        ("552 Skrzynka pocztowa adresata jest przepełniona", "mailbox-full"),
        ("552 Skrzynka pocztowa adresata jest przepelniona", "mailbox-full"),
        ("421 Zbyt wiele polaczen z tego adresu IP", "too-many-connections"),
        ("550 Nie ma takiego konta", "mailbox-unknown"),
        ("550 Brukeren finnes ikke", "mailbox-unknown"),
        ("550 Anvandaren finns inte", "mailbox-unknown"),
        ("550 Schranka neexistuje", "mailbox-unknown"),
        ("550 Kullanici yok", "mailbox-unknown"),
        ("550 A cimzett nem letezik", "mailbox-unknown"),
        ("550 Utilizatorul nu există", "mailbox-unknown"),
        ("550 Скринька не існує", "mailbox-unknown"),
        ("552 Posta kutusu dolu", "mailbox-full"),
        ("552 Postilaatikko on täynnä", "mailbox-full"),
        ("550 Účet byl zrušen", "mailbox-disabled"),
        ("554 Votre adresse IP est sur liste noire", "host-listed"),
        ("554 Ihre IP-Adresse steht auf einer Sperrliste", "host-listed"),
    ],
)
def test_other_languages_are_read_with_and_without_their_accents(text: str, cause: str) -> None:
    code, _, words = text.partition(" ")
    assert str(classify_reply(code, "", words).cause) == cause

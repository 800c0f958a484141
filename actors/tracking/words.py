"""What recipients are told, in the languages of the library's templates; the browser's `Accept-Language` chooses."""

from __future__ import annotations

__all__ = ("ENGLISH", "POLISH", "Words", "words_for")

import msgspec


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """All sentences of the pages in one language. `language`: for `<html lang>` (BCP 47)."""

    language: str
    gone: str
    gone_more: str
    later: str
    leave: str
    leave_more: str
    leave_button: str
    choose: str
    left: str
    left_more: str
    which: str
    which_more: str
    keep: str
    kept: str
    kept_more: str
    back: str


ENGLISH = Words(
    language="en",
    gone="This link is no longer valid",
    gone_more="The newest mail has one that is, and a reply to it reaches the sender.",
    later="Please try again in a moment",
    leave="Unsubscribe from these mails?",
    leave_more="One click, and nothing else to fill in.",
    leave_button="Unsubscribe",
    choose="Rather choose what you get",
    left="You are unsubscribed",
    left_more="It may take a moment to hold everywhere.",
    which="What would you like to get?",
    which_more="Tick what you want to get; what isn't ticked won't be sent.",
    keep="Save my choice",
    kept="Your choice is saved",
    kept_more="It may take a moment to hold everywhere.",
    back="Look at it again",
)

POLISH = Words(
    language="pl",
    gone="Ten link jest już nieważny",
    gone_more="W\u00a0najnowszej wiadomości jest aktualny, a\u00a0odpowiedź na nią trafi do nadawcy.",
    later="Spróbuj ponownie za chwilę",
    leave="Wypisać Cię z\u00a0tych wiadomości?",
    leave_more="Wystarczy jedno kliknięcie.",
    leave_button="Wypisz mnie",
    choose="Wolę wybrać, co chcę dostawać",
    left="Gotowe, wypisaliśmy Cię",
    left_more="Może minąć chwila, zanim zadziała to wszędzie.",
    which="Co chcesz dostawać?",
    which_more="Zaznacz to, co chcesz dostawać. Pozostałych wiadomości nie wyślemy.",
    keep="Zapisz wybór",
    kept="Wybór zapisany",
    kept_more="Może minąć chwila, zanim zadziała to wszędzie.",
    back="Zobacz jeszcze raz",
)

_KNOWN = {words.language: words for words in (ENGLISH, POLISH)}
_HEADER_BYTES_MAX = 512


def words_for(accept_language: bytes) -> Words:
    """Choose by an `Accept-Language` header (RFC 9110 §12.5.4): the preferred one that we know, else English."""
    wanted: list[tuple[float, int, Words]] = []
    text = accept_language[:_HEADER_BYTES_MAX].decode("ascii", "replace").lower()
    for at, part in enumerate(text.split(",")):
        name, _, weight = part.partition(";")
        words = _KNOWN.get(name.strip().partition("-")[0])
        quality = _quality(weight)
        if words is not None and quality > 0:
            wanted.append((-quality, at, words))
    return min(wanted, key=lambda one: one[:2])[2] if wanted else ENGLISH


def _quality(weight: str) -> float:
    _, equals, number = weight.partition("q=")
    try:
        return float(number) if equals else 1.0
    except ValueError:
        return 0.0

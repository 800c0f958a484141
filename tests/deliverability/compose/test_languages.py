"""Templates in several languages, and plural forms."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.compose.composer import Skeleton
from deliverability.compose.languages import language_of, languages_of, plural_function, written_in
from deliverability.compose.template import Profile, Template
from engine.errors import InputError
from tests.deliverability.compose.letters import compose, letter, parse, parts, template

TEXTS = {
    "en": {
        "subject": "{{ plural(n, one='# thing waits', other='# things wait') }}",
        "hello": "Hello & welcome, {{ contact.name }}",
    },
    "pl": {
        "subject": (
            "{{ plural(n, one='Czeka # rzecz', few='Czekają # rzeczy',"
            " many='Czeka # rzeczy', other='Czeka # rzeczy') }}"
        ),
        "hello": "Witaj, {{ contact.name }}",
    },
}


def two(**changes: object) -> Template:
    made = template("<p>{{ t.hello }}</p>", "{{ t.hello }}", "{{ t.subject }}")
    return msgspec.structs.replace(made, **{"texts": TEXTS, **changes})


def written(language: str | None, n: int) -> tuple[str, str]:
    """Give subject and HTML for a contact of a language."""
    contact = {"name": "<Ann>"} | ({"language": language} if language else {})
    composed = compose(two(), variables={"contact": contact, "n": n})
    return parse(composed)["subject"], parts(composed)["text/html"]


def test_each_contact_gets_its_language_and_else_the_templates() -> None:
    english = ("1 thing waits", "<p>Hello &amp; welcome, &lt;Ann&gt;</p>")
    assert written("en", 1) == english
    assert written(None, 1) == english
    assert written("fi", 1) == english
    assert written("pl", 3) == ("Czekają 3 rzeczy", "<p>Witaj, &lt;Ann&gt;</p>")
    assert written("pl-PL", 5)[0] == "Czeka 5 rzeczy"
    assert written("PL_pl", 1)[0] == "Czeka 1 rzecz"


def test_texts_are_plain_in_the_text_part() -> None:
    composed = compose(two(), variables={"contact": {"name": "Ann & Bo"}, "n": 2})
    assert parts(composed)["text/plain"] == "Hello & welcome, Ann & Bo"


def test_a_language_compiles_to_what_an_author_of_that_language_would_have_written() -> None:
    alone = msgspec.structs.replace(
        template("<p>Witaj, {{ contact.name }}</p>", "Witaj, {{ contact.name }}", "x"),
        language="pl",
    )
    both = msgspec.structs.replace(two(), subject="x")
    values = {"contact": {"name": "Ann", "language": "pl"}, "n": 1}
    assert compose(alone, variables=values).body == compose(both, variables=values).body


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"texts": {"pl": TEXTS["pl"]}}, "has no texts in 'en'"),
        ({"texts": {**TEXTS, "pl": {"hello": "x"}}}, "the text 'subject' is missing"),
        ({"texts": {**TEXTS, "klingonese": TEXTS["en"]}}, "is no language"),
        ({"subject": "{{ t.hello|upper }}"}, "is no text"),
    ],
)
def test_mistakes_are_told_when_compiled(change: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Skeleton(two(**change), Profile())


def test_a_form_that_the_language_needs_is_asked_for() -> None:
    made = template("<p>\n {{ plural(n, one='# plik', other='# pliku') }}</p>")
    Skeleton(made, Profile())
    with pytest.raises(InputError, match="no form `few`, which Polish needs") as error:
        Skeleton(msgspec.structs.replace(made, language="pl"), Profile())
    assert (error.value.place.line, error.value.place.column) == (2, 5)


def test_a_form_named_in_a_text_is_not_a_form() -> None:
    with pytest.raises(InputError, match="no form `other`"):
        Skeleton(template("{{ plural(n, one='other=1') }}"), Profile())


def test_what_is_not_a_number_is_refused_with_its_template() -> None:
    made = template("{{ plural(n, one='#', other='#') }}")
    with pytest.raises(InputError, match="counts numbers") as error:
        compose(made, variables={"n": "three"})
    assert error.value.place.file == "letter@1"


def polish(number: int) -> str:
    """CLDR's rules for whole numbers of Polish, written out once more."""
    if number == 1:
        return "one"
    tens, ones = number % 100, number % 10
    return "few" if ones in {2, 3, 4} and tens not in {12, 13, 14} else "many"


@given(st.integers(0, 10_000))
def test_polish_forms_are_those_of_cldr(number: int) -> None:
    forms = {name: name for name in ("one", "few", "many", "other")}
    assert plural_function("pl")(number, **forms) == polish(number)


@given(st.integers(0, 10_000))
def test_english_forms_are_those_of_cldr(number: int) -> None:
    assert plural_function("en")(number, one="one", other="other") == (
        "one" if number == 1 else "other"
    )


def test_numbers_are_written_as_the_language_does() -> None:
    forms = dict.fromkeys(("one", "few", "many", "other"), "#")
    assert plural_function("pl")(1_234_567, **forms) == "1\xa0234\xa0567"
    assert plural_function("en")(1_234_567, **forms) == "1,234,567"
    assert plural_function("pl")(1.5, **forms) == "1,5"


def test_the_languages_of_a_template_that_asks_itself() -> None:
    made = template(
        "{% if contact.language == 'pl' %}a{% elif contact.language == 'de' %}b{% endif %}"
    )
    assert languages_of(made) == ("en", "de", "pl")
    assert languages_of(two(language="pl")) == ("pl", "en")
    assert written_in(made, "pl").html == made.html


def test_a_variable_goes_before_the_contact() -> None:
    assert language_of({"language": "pl", "contact": {"language": "en"}}, ("en", "pl")) == "pl"
    assert language_of({"contact": {"language": 7}}, ("en", "pl")) == ""
    assert letter().variables == {}

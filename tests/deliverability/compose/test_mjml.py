"""MJML becomes HTML, with what the template language has in it untouched."""

from __future__ import annotations

import pytest

from deliverability.compose.mjml import MJML_CHARS_MAX, compile_mjml
from engine.errors import InputError

TEXT = """\
<mjml lang="{% if pl %}pl{% else %}en{% endif %}"><mj-body><mj-section><mj-column>
<mj-raw>{% if event.value > 3 %}</mj-raw>
<mj-text>{{ contact.name|default("you") }}</mj-text>
<mj-raw>{% endif %}</mj-raw>
<mj-button href="{{ event.url|default('https://shop.example/') }}">Go</mj-button>
</mj-column></mj-section></mj-body></mjml>
"""


def test_placeholders_and_conditions_stay_where_they_are() -> None:
    """In attributes, in texts, and around whole components."""
    html = compile_mjml(TEXT)
    assert html.startswith('<!doctype html><html lang="{% if pl %}pl{% else %}en{% endif %}"')
    assert '{{ contact.name|default("you") }}' in html
    assert "href=\"{{ event.url|default('https://shop.example/') }}\"" in html
    opens, text, closes = (
        html.index(part) for part in ("{% if event", "{{ contact", "{% endif %}<tr>")
    )
    assert opens < text < closes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<mjml><mj-body>",
        "<p>no</p>",
        "<mjml><mj-body><mj-text>a < b</mj-text></mj-body></mjml>",
    ],
)
def test_what_isnt_mjml_is_told(text: str) -> None:
    """With the file, and how to mend it."""
    with pytest.raises(InputError, match="isn't MJML") as caught:
        compile_mjml(text, "hello.mjml")
    assert "hello.mjml" in str(caught.value)


def test_nothing_is_included_and_nothing_is_endless() -> None:
    """A file of this machine isn't read, and a very long text is refused."""
    with pytest.raises(InputError):
        compile_mjml('<mjml><mj-body><mj-include path="/etc/passwd" /></mj-body></mjml>')
    with pytest.raises(InputError, match="more than"):
        compile_mjml("<" * (MJML_CHARS_MAX + 1))

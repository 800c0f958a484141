import minijinja
import pytest

from bench.content import HOLES, KILOBYTES, expected_html, expected_text, holes, number_in, template


def test_a_mail_has_twenty_holes_that_differ_from_the_next_ones() -> None:
    one, other = holes(7), holes(8)
    assert len(one) == HOLES
    assert [name for name in one if one[name] == other[name]] == []


@pytest.mark.parametrize("kilobytes", KILOBYTES)
def test_a_template_has_its_size_and_uses_every_hole(kilobytes: int) -> None:
    html = template(kilobytes, "a@shop.example").html
    assert kilobytes * 1000 <= len(html) < kilobytes * 1000 + 1000
    assert [name for name in holes(0) if f"event.{name} " not in html] == []


def test_the_number_of_a_mail_stands_in_both_parts() -> None:
    assert number_in(expected_text(123)) == 123
    assert number_in(expected_html(10, 123)) == 123


def test_html_is_escaped_and_text_is_not() -> None:
    assert "&amp;b=" in expected_html(10, 3)
    assert "&b=" in expected_text(3)


def test_templates_are_valid_by_themselves() -> None:
    for kilobytes in KILOBYTES:
        made = template(kilobytes, "a@shop.example")
        environment = minijinja.Environment(undefined_behavior="strict")
        assert environment.render_str(made.subject, event=holes(1)).startswith("Your order 1 ")

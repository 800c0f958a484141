"""Test cases bring lists of products of their own."""

from __future__ import annotations

from scenarios.checking import load
from scenarios.proof.reading import read_suite
from scenarios.proof.suite import prove

SCENARIO = """
scenario: s
entry: viewed
reentry: always
steps:
  - id: goods
    products: {from: shop, keys: event.sku, instead: [LP-2]}
    else:
      - end: nothing
  - id: cheap
    if: journey.products[0].price < 1000
    then:
      - id: mail
        send: {template: x, topic: t}
"""
SUITE = """
given: {at: 2026-03-02 09:00, contact: {email: ann@example.com}, consents: [t]}
cases:
  - name: it is there
    given: {products: {shop: {LP-1: {price: 900}}}}
    when: [{at: 0s, event: viewed, data: {sku: LP-1}}]
    then: {sends: [{step: mail, at: 0s}]}
  - name: another stands in, and is dear
    given: {products: {shop: {LP-2: {price: 9000}}}}
    when: [{at: 0s, event: viewed, data: {sku: LP-1}}]
    then: {sends: [], ended: [{reason: done}]}
  - name: there is no list
    when: [{at: 0s, event: viewed, data: {sku: LP-1}}]
    then: {sends: [], ended: [{reason: nothing}]}
"""


def test_a_case_says_what_the_shop_has() -> None:
    scenario = load(SCENARIO)
    suite, mistakes = read_suite(SUITE, "tests.yaml", scenario)
    assert mistakes == []
    assert suite is not None
    proof = prove(scenario, suite)
    assert proof.failed == ()
    assert proof.coverage.percent == 100


def test_rows_without_columns_are_a_mistake_with_its_place() -> None:
    wrong = SUITE.replace("{LP-1: {price: 900}}", "[LP-1]")
    _, mistakes = read_suite(wrong, "tests.yaml", load(SCENARIO))
    [mistake] = mistakes
    assert mistake.line == 5
    assert "rows have keys and columns" in mistake.message

"""What to say to whom and when: the scenario language, and the contact whose journeys it drives.

What lives here:
- reading a file: `document` (YAML with places), `language` (every key, as data), `scalars`, `steps` and
  `reading` (to the `model`), `checking` and `shape` (mistakes), `types` (a tenant's schema), `cel` (expressions);
- running it: `compiling` lays a version out once, as a `program` of instructions, each with its act (`acts`, `walk`);
- the machine of contacts, `contact`: its `state`, what an event does (`entry`, `opening`), the `interpreter` with
  `waits`, `doing`, `sending` and `calendar`, what is asked at the hand-over (`permission`, `exposure`), and new
  versions (`migration`, `moving`);
- showing: `graph`, `difference`, `schema`, `reference`.

What may not: I/O, clocks, chance, the delivery of mail. Begin reading at `model`, then `contact`.

    scenario: welcome
    entry:
      event: order.placed
      when: contact.count('order.placed') == 1
    steps:
      - id: thanks
        send: {template: thanks, topic: offers}
      - id: a-week
        wait: 7d
      - id: tips
        send: {template: tips, topic: offers}
"""

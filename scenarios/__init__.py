"""What to say to whom and when: the scenario language, and the contact whose journeys it drives.

What lives here: reading and checking scenario files (`document`, `language`, `reading`, `checking`), expressions
(`cel`), the compiled form (`compiling`), and the machine of contacts (`contact`): its state (`state`), what an
event does (`entry`), the interpreter of steps (`interpreter`), the permission to send (`permission`). What may not: I/O, clocks,
chance, the delivery of mail. Begin reading at `model`, then `contact`.

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

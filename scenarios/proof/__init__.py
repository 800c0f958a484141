"""Proof before sending: given/when/then cases that run the production contact machine in virtual time.

What lives here:
- `case` (what a case says) and `reading` (from `tests.yaml`, with every mistake's place);
- `rehearsal`, which runs one case: the contact machine, its wakes, and `postal`, a small honest message side that asks
  `MaySend` when mail is due;
- `verdict`, which compares what was expected with what happened, as two timelines;
- `coverage` of steps and branches, `mutation` (what each small damage to a scenario must break), and `suite`, which
  puts them together and reports.

What may not: files, clocks, chance. Begin reading at `suite`.

    cases:
      - name: reminds after four hours
        given: {at: 2026-03-02 09:00, contact: {email: anna@shop.example}, consents: [offers]}
        when:
          - {at: 0s, event: cart.updated, data: {cart: c1, value: 5000}}
        then:
          sends: [{step: reminder, at: 4h}]
"""

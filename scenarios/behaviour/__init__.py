"""How simulated contacts behave: what they do of themselves, and how they answer events, entries of feeds, and mail.

What lives here:
- `model` (what a behaviour file says) and `reading` (from `behaviour.yaml`, with the place of a mistake);
- `values` (where the fields of attributes and events come from) and `draws` (the seeded streams behind all chance);
- `acting`: one contact's part, played from its number and the seed alone;
- `fitting`: the same model with figures measured on an event log.

What may not: files, clocks, chance that no seed gives. Each use of chance has a stream with a name of its own, so that
a draw more in one place shifts no other. Begin reading at `model`.

    follows:
      - after: event cart.updated
        event: order.placed
        chance: 0.3
        delay: 3h          # mean of an exponential delay
        data: {cart: = cause.cart}
"""

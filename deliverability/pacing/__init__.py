"""Pacing: how fast each provider likes it, found out from its replies.

Rules (`deliverability.shaping`) say what is known beforehand; this package finds the rest and keeps to it. It is pure:
every call gets `now_ms`, nothing sleeps, and the same calls give the same answers.

- `tokens`, `limits`: exact limits per time, for messages, bytes, recipients, connections and their opening.
- `fairness`: who is next: deadlines and priorities first, then tenants by weight (deficit round robin).
- `signals`: what a reply says about pace; `retry`: when to try again, by cause.
- `lane`: the closed loop for one source and one provider; it uses `windows` (quotas of unknown size), `recovery`
  (Google's procedure after 4.7.28), `greylist`, `connections` and `daytime`.
- `eta`: when a waiting message will go, with an interval that is calibrated on what came true.

Begin with `lane`. An example, in words: 4,000 messages wait for a provider that takes 600 an hour and says so to
nobody. The lane starts at its first rate, doubles it every few minutes, meets "sent too many" after 600, stops, asks
again now and then, sees mail accepted at the full hour, concludes "600 in each hour of the clock", and from then on
sends 582 an hour, evenly.
"""

"""Leases of scarce budgets: what all egresses together may use of a provider never passes its limit. Pure.

A `Book` (the governor's side) leases shares of each budget to holders by their demand; a `Wallet` (the holder's side)
says what may be used now. A budget is a rate with its burst and a number of connections, for one provider, source and
tenant. Begin with `terms`, then `book`. The laws, whatever is lost, late, paused or restarted:

- A lease ends on the holder's clock a term after it *asked*; on the governor's, a term after it *answered*, which is
  later, and later still by what clocks may drift. So what the governor counts as used is never less than what is.
- A share that was lowered counts as it was until the holder says that it uses the lower one, or the old one has ended.
- After its lease a holder has a safe share, set aside for its slot and leased to nobody else. A slot is given to
  another life only when the former is known to be dead, or so long after its last lease that it has stopped by itself.
- A connection counts until its holder says that it is closed, or until the longest time-out of a session has passed.
- A restarted governor knows which lives there were, since each was written down before its first answer. It leases
  nothing for as long as its predecessor's leases could run, and no connection more than there are until it has heard
  from each life that could have some, or knows that it is dead.
"""

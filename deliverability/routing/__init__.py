"""Where to, by which way: pure. Sockets, DNS and HTTPS are in `transport`.

A *route* is pool and site: `pool/site`, where the site is named as KumoMTA names it (`dns.sites`), so that all domains
behind the same MX hosts share connections and limits. Where domains of one site ask for different security (MTA-STS,
DANE), `~` and a digest follow, since a connection of the one must not carry mail of the other.

`destinations` puts together what DNS and policies say of a domain; `hops` chooses among the hosts of a site, or among
relays, and leaves those alone that fail; `sources` chooses the address to come from. Begin with `destinations`.
"""

"""What is asked of DNS, and what follows from the answers. Pure: no sockets, no clock, no chance of its own.

Whoever needs DNS writes a generator that yields a `Question` and is sent its `Answer` (`asking.Asking`);
`asking.run` drives it with any function from question to answer: a zone out of a file (`zone`) in tests and
previews, `transport.dns` in production. So the same logic runs against both, and nothing in it waits.

An answer is one of six outcomes, never an exception: found, no data (the name exists, RFC 2308 §2.2), NXDOMAIN,
SERVFAIL, timeout, bogus (DNSSEC says forged). Only the first three say anything about the name; the others mean
"ask again later", and nobody's mail is bounced for them.

`names` writes domains and reverse names, `cache` keeps answers, `mail_hosts` finds where a domain's mail goes
(RFC 5321 §5.1), `sites` gives hosts that an MX set shares one name. Begin with `asking`.
"""

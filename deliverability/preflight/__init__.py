"""Before the send: what providers demand, as code. Pure; DNS is asked as `dns.asking` has it.

`examine` takes a `Subject` (a domain, or a message with what is known about how it will be sent) and gives a
`Report`: findings with a verdict, who demands it and since when, what was found and how to mend it; and what could
not be checked, with what is missing for it. Nothing that wasn't looked at counts as passed.

`demands` is the catalogue: each check with the row of the field's table it comes from. One module a group:
`sources` (SPF, PTR, EHLO), `keys` (DKIM), `authorship` (DMARC, alignment, domains), `form` (RFC 5322),
`unsubscribing` (RFC 8058, visible link), `sending` (TLS, streams, volume, rates), `links`, `parts` and `names`
(content). `message` and `page` take a message and its HTML to pieces.
"""

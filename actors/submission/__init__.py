"""Submission: mail that applications bring ready or nearly so, by HTTP or by SMTP (RFC 6409).

`content` checks what they bring and makes it durable as blobs; `gathering` takes many transactions to the engine in one
call; `policy` decides an SMTP session, `listener` puts it on sockets. Begin reading with `content`, then `policy`.
No rule of scenarios lives here, and nothing that is sent: a message goes its way like any other (DESIGN §4).
"""

"""SMTP without I/O: what goes over the wire, decided by plain objects. RFC 5321.

Both ends of a session live here as state machines that take bytes and give bytes. They know no socket,
clock or chance: `deliverability/transport/` moves the bytes, and hands in `now_ms` where policy asks.

A client session, commands on the left (C), replies on the right (S):

    S: 220 mx.example ESMTP                     the greeting
    C: EHLO out.sender.example                  who we are
    S: 250-mx.example / 250 PIPELINING          the extensions: `capabilities`
    C: MAIL FROM:<b+1@sender.example>           a transaction begins: the reverse-path
    C: RCPT TO:<ann@mx.example>                 the forward-path
    C: DATA
    S: 250 2.1.0 Ok / 250 2.1.5 Ok / 354 go     one reply for each command, in order
    C: (content) CRLF . CRLF                    the dot ends the content
    S: 250 2.0.0 queued                         from here on the message is theirs

Begin reading with `envelope` (a transaction) and `endings` (how one can end), then `client`; `server` is
the other end, whose answers come from a `policy`. `reply`, `capabilities`, `content` and `commands` are
the parsers of foreign bytes; each is bounded in time and memory.
"""

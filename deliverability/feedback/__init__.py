"""Understand what comes back: bounces, automatic replies, complaints, DMARC and TLS reports, and live SMTP replies.

A mail that was sent may be answered in five forms. The receiving host answers at once, in the SMTP dialogue (a
*reply*); or a host on the way accepts it and sends a delivery status notification later (a *bounce*, a
*delay*), in fields (RFC 3464), in prose, or both; a machine answers for a person (an *automatic reply*, RFC
3834); a person complains, and the provider says so (a *complaint*, RFC 5965); and providers send statistics
(DMARC aggregate reports, TLS reports). All of them are text written by strangers, so everything here is bounded
and nothing raises.

    reader      which form is it: `read(mail) -> Reading`              begin here
    taxonomy    cause, blame, action, and the maps to Sisimai and KumoMTA
    replies     one SMTP reply: `classify_reply(code, enhanced, text) -> Verdict`
    rulebook    the rules as data (replies.toml), compiled and checked; `phrases` is their language
    bounces     dsn, prose and the carried message, put together
    complaints, dmarc, tlsrpt, unpack, mime, addresses, signs, limits

Pure: no clock, no sockets, no files but the shipped rules. What is read is what mail *says*; whether it may be
believed is decided by whoever
knows the signed reverse-path and the reporter's DKIM signature.
"""

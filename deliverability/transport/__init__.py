"""The edge of delivery: sockets, DNS and files. The only place in `deliverability/` with I/O.

Nothing is decided here. What is said over SMTP is decided by the sessions of `deliverability.smtp`;
`smtp_client` and `smtp_server` move their bytes, keep their time-outs and report what came of it.
"""

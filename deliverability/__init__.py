"""How mail gets accepted: composing, DKIM, SMTP, retries, shaping, feedback, reputation.

No Ray here, and I/O in `transport` alone. Begin reading at `message` (the life of one message), then `egress` (what
is in hand), then `transport.delivery` (the connections), `compose` and `dkim` (what is sent), `smtp` (how),
`feedback` (what comes back), `twin` (who answers in tests, demo and replay).
"""

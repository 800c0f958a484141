"""Twins at work: an SMTP server in front of the models, files of what it took, pages to read them.

    server        listens, asks `deliverability.twin`, puts what was taken on record
    record        received.ndjson and the kept mails, written
    caught        the same, read
    clock         wall time or a replay's time
    desk          between the accept path and the record
    signatures    DKIM verdicts by dkimpy, beside the accept path
    reading       a mail taken apart for people: parts, text, HTML made harmless
    inbox         the pages of `veredus twin --inbox`
    certificate   a self-signed certificate for STARTTLS

The files lie in `<data directory>/twin/`. Begin with `server`.
"""

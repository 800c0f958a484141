"""What recipients meet of an instance: one-click unsubscribe, redirects of tracked links, the open pixel.

    /u/TOKEN   GET shows a page that does nothing by itself (scanners click); POST unsubscribes at once (RFC 8058)
    /c/TOKEN   redirects to the signed target and tells the contact `mail.clicked`
    /o/TOKEN   gives a pixel and tells the contact `mail.opened`

No cookies, no log-in, no look-up but of the message that the token names. What may not live here: what a click
means; that is a scenario's business. Begin reading at `answers`.
"""

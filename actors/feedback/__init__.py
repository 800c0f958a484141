"""Feedback on its way into the loop.

`listener` takes mail by SMTP, `reception` decides whose message it is about and tells it, `watching` reads what became
of all mail and keeps rates, findings and the suppression list. What mails mean is in `deliverability.feedback`.
"""

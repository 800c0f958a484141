"""Mails written for these tests in the forms that MTAs use; no line is taken from a corpus."""

from __future__ import annotations

__all__ = ("MAILS", "bounce", "dsn")


def bounce(
    text: str,
    *,
    sender: str = "MAILER-DAEMON@relay.test",
    subject: str = "Undelivered mail",
    extra: str = "",
) -> bytes:
    """A bounce in prose."""
    head = f"Return-Path: <>\nFrom: {sender}\nTo: news@shop.test\nSubject: {subject}\n{extra}"
    return f"{head}\n{text}".encode()


def dsn(
    fields: str,
    prose: str = "Your message could not be delivered.\n",
    original: str = "To: ann@example.org\n",
) -> bytes:
    """A multipart/report with a delivery status."""
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@relay.test\nTo: news@shop.test\nSubject: Delivery Status Notification\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="b1"\n\n'
        f"--b1\nContent-Type: text/plain\n\n{prose}\n"
        f"--b1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; relay.test\n\n{fields}\n"
        f"--b1\nContent-Type: text/rfc822-headers\n\n{original}From: news@shop.test\nSubject: Offers\n\n--b1--\n"
    ).encode()


EXIM = bounce(
    "This message was created automatically by mail delivery software.\n\n"
    "A message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. "
    "The following address(es) failed:\n\n  ann@example.org\n    host mx.example.org [192.0.2.7]\n"
    "    SMTP error from remote mail server after RCPT TO:<ann@example.org>:\n    550 5.1.1 No mailbox of that name\n"
    "  bob@example.net\n    all relevant MX records point to non-existent hosts\n\n"
    "------ This is a copy of the message, including all the headers. ------\n\nReturn-path: "
    "<news@shop.test>\nTo: ann@example.org\n",
    subject="Mail delivery failed: returning message to sender",
)
QMAIL = bounce(
    "Hi. This is the qmail-send program at relay.test.\nI'm afraid I wasn't able to deliver your message to "
    "the following addresses.\n"
    "This is a permanent error; I've given up. Sorry it didn't work out.\n\n<ann@example.org>:\n192.0.2.7 does "
    "not like recipient.\n"
    "Remote host said: 550 unknown user\nGiving up on 192.0.2.7.\n\n--- Below this line is a copy of the "
    "message.\n\nTo: zed@example.org\n",
    subject="failure notice",
)
EXCHANGE = bounce(
    "Your message did not reach some or all of the intended recipients.\n\n      Subject:\tOffers\n      "
    "Sent:\t3/4/2021 9:00 AM\n\n"
    "The following recipient(s) could not be reached:\n\n      ann@example.org on 3/4/2021 9:01 AM\n"
    "            The e-mail account does not exist at the organization this message was sent to.\n"
    "            <mx.example.org #5.1.1 smtp;550 5.1.1 <ann@example.org>... User unknown>\n",
    sender="System Administrator <postmaster@relay.test>",
    subject="Undeliverable: Offers",
)
IPLANET = bounce(
    "This report relates to a message you sent with the following header fields:\n\n  Subject: Offers\n\n"
    "Your message cannot be delivered to the following recipients:\n\n  Recipient address: ann@example.org\n"
    "  Reason: Remote SMTP server has rejected address\n  Diagnostic code: smtp;550 5.1.1 unknown or illegal "
    "alias: ann@example.org\n"
    "  Remote system: dns;mx.example.org (TCP|192.0.2.1|25) (mx.example.org ESMTP)\n",
    subject="Delivery Notification: Delivery has failed",
)
POSTFIX_DELAY = bounce(
    "####################################################################\n# THIS IS A WARNING ONLY.  YOU DO "
    "NOT NEED TO RESEND YOUR MESSAGE. #\n"
    "####################################################################\n\nYour message could not be "
    "delivered for more than 4 hour(s).\n"
    "It will be retried until it is 5 day"
    "(s) old.\n\n<ann@example.org>: connect to mx.example.org[192.0.2.7]:25: Connection timed out\n",
    subject="Delayed Mail (still being retried)",
)
SENDMAIL_OLD = bounce(
    "   ----- The following addresses had permanent fatal errors -----\n<ann@example.org>\n\n   ----- "
    "Transcript of session follows -----\n"
    "... while talking to mx.example.org.:\n>>> RCPT To:<ann@example.org>\n<<< 552 Mailbox is over its "
    "quota\n554 <ann@example.org>... Service unavailable\n\n"
    "   ----- Original message follows -----\n\nReturn-Path: <news@shop.test>\nTo: other@example.org\n",
    subject="Returned mail: Service unavailable",
)
GMAIL = bounce(
    "Delivery to the following recipient failed permanently:\n\n     ann@example.org\n\nTechnical details of "
    "permanent failure:\n"
    "Google tried to deliver your message, but it was rejected by the server for the recipient domain "
    "example.org by mx.example.org. [192.0.2.7].\n\n"
    "The error that the other server returned was:\n550 5.7.1 Message rejected because it looks like "
    "spam\n\n----- Original message -----\n\nTo: x@example.org\n",
    sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
    subject="Delivery Status Notification (Failure)",
)
VACATION = (
    b"From: Ann <ann@example.org>\nTo: news@shop.test\nSubject: Out of office: Offers\nAuto-Submitted: "
    b"auto-replied\n\n"
    b"I am out of the office until Monday and will reply as soon as I am back.\n"
)
CHALLENGE = (
    b"From: Ann <ann@example.org>\nTo: news@shop.test\nSubject: Please confirm your message\nAuto-Submitted: "
    b"auto-replied\n\n"
    b"To prove that you are a person, click the link below to confirm your message.\n"
)
SES = bounce(
    '{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"ann@example.org","action":"failed",'
    '"status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user '
    'unknown"}],"reportingMTA":"dsn; a.ses.test"},"mail":{"source":"news@shop.test"}}\n',
    sender="AWS Notifications <no-reply@sns.test>",
    subject="AWS Notification Message",
)
PLAIN = (
    b"From: ann@example.org\nTo: bob@example.net\nSubject: lunch\n\n"
    b"Shall we meet at noon? The parcel was delivered.\n"
)

MAILS: dict[str, tuple[bytes, str, list[tuple[str, str, str, str]]]] = {
    # name: (mail, kind, [(recipient, cause, status, reply code)])
    "exim": (
        EXIM,
        "bounce",
        [
            ("ann@example.org", "mailbox-unknown", "5.1.1", "550"),
            ("bob@example.net", "domain-unknown", "5.1.2", ""),
        ],
    ),
    "qmail": (QMAIL, "bounce", [("ann@example.org", "mailbox-unknown", "5.1.1", "550")]),
    "exchange": (EXCHANGE, "bounce", [("ann@example.org", "mailbox-unknown", "5.1.1", "550")]),
    "iplanet": (IPLANET, "bounce", [("ann@example.org", "mailbox-unknown", "5.1.1", "550")]),
    "postfix delay": (POSTFIX_DELAY, "delay", [("ann@example.org", "timed-out", "4.4.7", "")]),
    "old sendmail": (SENDMAIL_OLD, "bounce", [("ann@example.org", "mailbox-full", "5.2.2", "552")]),
    "gmail": (GMAIL, "bounce", [("ann@example.org", "spam-content", "5.7.1", "550")]),
    "vacation": (VACATION, "auto-reply", [("ann@example.org", "auto-reply", "", "")]),
    "challenge": (CHALLENGE, "auto-reply", [("ann@example.org", "challenge", "", "")]),
    "ses": (SES, "bounce", [("ann@example.org", "mailbox-unknown", "5.1.1", "550")]),
    "ordinary mail": (PLAIN, "other", []),
}

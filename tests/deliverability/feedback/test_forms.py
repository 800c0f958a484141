"""Broken, odd and foreign: delivery statuses as they really come, and prose in many languages and charsets."""
# ruff: noqa: RUF001  # letters of those languages look like ours

from __future__ import annotations

import base64

import pytest

from deliverability.feedback.reader import read_file
from deliverability.feedback.reading import RecipientReport

Wanted = tuple[str, str | None, str, str]
MAILS: dict[str, tuple[bytes, tuple[Wanted, ...]]] = {}


def D(
    fields: str,
    kind: str = "message/delivery-status",
    head: str = 'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"',
    prose: str = "Your message could not be delivered.",
    end: str = "--b1--\n",
    pre: str = "--b1\nContent-Type: text/plain\n\n",
    cte: str = "",
) -> bytes:
    """A bounce with a delivery status."""
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@relay.test\nTo: news@shop.test\n"
        "Subject: Delivery Status Notification\n"
        f"MIME-Version: 1.0\n{head}\n\n{pre}{prose}\n\n"
        f"--b1\nContent-Type: {kind}\n{cte}\nReporting-MTA: dns; relay.test\n\n"
        f"{fields}\n--b1\nContent-Type: text/rfc822-headers\n\n"
        f"To: ann@example.org\nFrom: news@shop.test\nSubject: Offers\n\n{end}"
    ).encode()


F = (
    "Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <ann@example.org>... User unknown\n"
)


def c(n: str, m: bytes, *w: Wanted) -> None:
    """Note a mail and what it says."""
    MAILS[n] = (m, w or (("ann@example.org", "userunknown", "5.1.1", "550"),))


c("plain", D(F))
c("crlf", D(F).replace(b"\n", b"\r\n"))
c("cr", D(F).replace(b"\n", b"\r"))
c("mixed nl", D(F).replace(b"\n", b"\r\r\n"))
c("no boundary param", D(F, head="Content-Type: multipart/report; report-type=delivery-status"))
c(
    "wrong boundary",
    D(F, head='Content-Type: multipart/report; report-type=delivery-status; boundary="zzz"'),
)
c("no mime", D(F, head="X-A: b"))
c("truncated", D(F)[:-120])
c("trunc in status", D(F)[: D(F).index(b"User unknown")])
c("nul", D(F).replace(b"delivered.", b"deliv\x00ered."))
c("blank lines between fields", D(F.replace("\n", "\n\n")))
c("global type", D(F.replace("rfc822;", "utf-8;"), kind="message/global-delivery-status"))
c("angle", D(F.replace("rfc822; ann@example.org", "rfc822; <ann@example.org>")))
c("no type", D(F.replace("rfc822; ", "")))
c("RFC822 upper + space", D(F.replace("rfc822; ", "RFC822 ;  ")))
c("status comment", D(F.replace("5.1.1\nD", "5.1.1 (bad destination mailbox address)\nD")))
c(
    "lower names",
    D(F.replace("Final-Recipient", "final-recipient").replace("Action: failed", "action: Failed")),
)
c("folded diag", D(F.replace("smtp; 550 5.1.1 <ann", "smtp;\n    550 5.1.1\n    <ann")))
c(
    "unfolded broken diag",
    D(F.replace("smtp; 550 5.1.1 <ann", "smtp; 550-5.1.1 line one\n550 5.1.1 <ann")),
)
c(
    "base64 status",
    D(
        base64.encodebytes(("Reporting-MTA: dns; r\n\n" + F).encode()).decode(),
        cte="Content-Transfer-Encoding: base64\n",
    ).replace(b"Reporting-MTA: dns; relay.test\n\n", b""),
)
c("qp status", D(F, cte="Content-Transfer-Encoding: quoted-printable\n"))
c("status as text/plain", D(F, kind="text/plain"))
c(
    "two recips",
    D(
        F
        + "\n"
        + F.replace("ann@", "bob@")
        .replace("5.1.1", "5.2.2")
        .replace("User unknown", "Mailbox full")
    ),
    ("ann@example.org", "userunknown", "5.1.1", "550"),
    ("bob@example.org", "mailboxfull", "5.2.2", "550"),
)
c("no final only orig", D(F.replace("Final-", "Original-")))
c("status in diag only", D(F.replace("Status: 5.1.1\n", "")))
c("status 5.0.0", D(F.replace("Status: 5.1.1", "Status: 5.0.0")))
c("code joined", D(F.replace("550 5.1.1 <ann", "550-5.1.1-<ann")))
c("hash code", D(F.replace("550 5.1.1 <ann", "550 #5.1.1 <ann")))
c("paren", D(F.replace("550 5.1.1 <ann@example.org>... User unknown", "550 User unknown (#5.1.1)")))
c("tabs", D(F.replace(": ", ":\t")))
c("space before colon", D(F.replace("Action:", "Action :")))
c("mbox from", b"From MAILER-DAEMON Thu Jan  1 00:00:00 2015\n" + D(F))
c(">From", b">From MAILER-DAEMON Thu Jan  1 00:00:00 2015\n" + D(F))
c("leading blank", b"\n\n" + D(F))
c("bom", b"\xef\xbb\xbf" + D(F))


def P(text: str, cs: str, cte: str = "8bit") -> bytes:
    """A bounce in prose, in a charset."""
    raw = text.encode(cs, "replace")
    if cte == "base64":
        raw = base64.encodebytes(raw)
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@relay.test\nTo: news@shop.test\nSubject: Undelivered\n"
        f"MIME-Version: 1.0\nContent-Type: text/plain; charset={cs}\nContent-Transfer-Encoding: {cte}\n\n"
    ).encode() + raw


jp = "次の宛先へのメールは配信できませんでした。\n\n<ann@example.org>\nメールボックスの容量が一杯です\n"
for cs in ("iso-2022-jp", "shift_jis", "euc-jp", "utf-8"):
    c(
        "jp " + cs,
        P(jp, cs, cte="7bit" if cs == "iso-2022-jp" else "8bit"),
        ("ann@example.org", "mailboxfull", "", ""),
    )
    c("jp b64 " + cs, P(jp, cs, cte="base64"), ("ann@example.org", "mailboxfull", "", ""))
jp2 = "あなたが送信したメールは、宛先のアドレスが存在しないため配信できませんでした。\n宛先: ann@example.org\n"
c("jp2", P(jp2, "iso-2022-jp", cte="7bit"), ("ann@example.org", "userunknown", "", ""))
c(
    "jp2 x-sjis",
    P(jp2, "shift_jis").replace(b"shift_jis", b"x-sjis"),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "jp no charset",
    P(jp, "iso-2022-jp", cte="7bit").replace(b"; charset=iso-2022-jp", b""),
    ("ann@example.org", "mailboxfull", "", ""),
)
ru = "Ваше сообщение не было доставлено.\n\n<ann@example.org>: почтовый ящик переполнен\n"
for cs in ("koi8-r", "windows-1251", "iso-8859-5"):
    c("ru " + cs, P(ru, cs), ("ann@example.org", "mailboxfull", "", ""))
ru2 = "Не удалось доставить письмо.\nann@example.org: пользователь не найден\n"
c("ru2", P(ru2, "koi8-r", cte="base64"), ("ann@example.org", "userunknown", "", ""))
cn = "您的邮件无法送达\n收件人: ann@example.org\n原因: 用户不存在\n"
for cs in ("gb2312", "gbk", "gb18030", "big5"):
    c(
        "cn " + cs,
        P(
            cn
            if cs != "big5"
            else "您的郵件無法送達\n收件人: ann@example.org\n原因: 使用者不存在\n",
            cs,
        ),
        ("ann@example.org", "userunknown", "", ""),
    )
c(
    "cn unknown charset",
    P(cn, "gb2312").replace(b"charset=gb2312", b"charset=x-unknown"),
    ("ann@example.org", None, "", ""),
)
c(
    "kr",
    P(
        "메일이 전송되지 못했습니다.\n받는사람: ann@example.org\n사유: 존재하지 않는 사용자입니다\n",
        "euc-kr",
    ),
    ("ann@example.org", "userunknown", "", ""),
)
de = "Ihre Nachricht konnte nicht zugestellt werden.\n\nann@example.org: Der Empfänger ist unbekannt\n"
c("de latin1", P(de, "iso-8859-1"), ("ann@example.org", "userunknown", "", ""))
c(
    "de qp missing",
    P(de, "utf-8").replace(b"charset=utf-8", b"charset=us-ascii"),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "fr",
    P(
        "Votre message n'a pas pu être remis.\n\nann@example.org : la boîte aux lettres est pleine\n",
        "iso-8859-15",
    ),
    ("ann@example.org", "mailboxfull", "", ""),
)
c(
    "es",
    P(
        "Su mensaje no pudo ser entregado.\n\nann@example.org: el buzón del destinatario está lleno\n",
        "iso-8859-1",
    ),
    ("ann@example.org", "mailboxfull", "", ""),
)
c(
    "pt",
    P(
        "Sua mensagem não pôde ser entregue.\n\nann@example.org: usuário inexistente\n",
        "iso-8859-1",
    ),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "it",
    P(
        "Il messaggio non è stato recapitato.\n\nann@example.org: casella di posta piena\n",
        "iso-8859-1",
    ),
    ("ann@example.org", "mailboxfull", "", ""),
)
c(
    "nl",
    P(
        "Uw bericht kon niet worden afgeleverd.\n\nann@example.org: gebruiker onbekend\n",
        "iso-8859-1",
    ),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "pl",
    P(
        "Twoja wiadomość nie mogła zostać dostarczona.\n\nann@example.org: skrzynka jest przepełniona\n",
        "iso-8859-2",
    ),
    ("ann@example.org", "mailboxfull", "", ""),
)
c(
    "tr",
    P("İletiniz teslim edilemedi.\n\nann@example.org: kullanıcı bulunamadı\n", "iso-8859-9"),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "sv",
    P(
        "Ditt meddelande kunde inte levereras.\n\nann@example.org: mottagaren finns inte\n",
        "iso-8859-1",
    ),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "cs",
    P("Vaši zprávu nebylo možné doručit.\n\nann@example.org: uživatel neexistuje\n", "iso-8859-2"),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "da",
    P("Din meddelelse kunne ikke leveres.\n\nann@example.org: ukendt modtager\n", "iso-8859-1"),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "fi",
    P("Viestiäsi ei voitu toimittaa.\n\nann@example.org: tuntematon vastaanottaja\n", "iso-8859-1"),
    ("ann@example.org", "userunknown", "", ""),
)
c(
    "hu",
    P(
        "Az üzenetet nem sikerült kézbesíteni.\n\nann@example.org: ismeretlen felhasználó\n",
        "iso-8859-2",
    ),
    ("ann@example.org", "userunknown", "", ""),
)


@pytest.mark.parametrize("name", MAILS)
def test_odd_forms_are_understood(name: str) -> None:
    """Recipient, reason, status and reply code, where the mail has them."""
    mail, want = MAILS[name]
    reading = read_file(mail)
    assert reading.kind in ("bounce", "delay")
    found = [one for one in reading.reports if isinstance(one, RecipientReport)]
    assert [one.recipient for one in found] == [one[0] for one in want]
    for one, (_, reason, status, code) in zip(found, want, strict=True):
        assert one.reply_code == code
        assert status in ("", one.status)
        assert reason in (None, one.sisimai) or (reason, one.sisimai, status) == (
            "userunknown",
            "filtered",
            "",
        )

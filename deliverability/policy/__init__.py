"""What domains publish about mail, and what follows from it. Pure; questions go out as `dns.asking` has them.

One module a standard, named after it: `spf_record` and `spf` (RFC 7208), `dkim_record` and `dkim_signature`
(RFC 6376), `dmarc_record` and `dmarc` (RFC 9989), `mta_sts` and `sts_cache` (RFC 8461), `tls_rpt` (RFC 8460). Each
parser takes any bytes and gives a value, or a `Mistake` that says what is wrong and where; none raises. `tags` is
the list of tags that most of these records are. `rotation` changes a DKIM key for another in three steps.

    example.com.                  TXT "v=spf1 ip4:192.0.2.0/24 include:_spf.relay.example -all"
    s1._domainkey.example.com.    TXT "v=DKIM1; k=rsa; p=MIIB…"
    _dmarc.example.com.           TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"
    _mta-sts.example.com.         TXT "v=STSv1; id=20260101"
    _smtp._tls.example.com.       TXT "v=TLSRPTv1; rua=mailto:tls@example.com"
"""

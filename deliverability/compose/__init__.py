"""From a template and a letter to the octets of a message.

Pure; begin with `composer.Skeleton.compose`.

**How a skeleton works.** A template is parsed once a version. Its long static stretches are encoded
then (quoted-printable, lines of at most 76), and what minijinja gets to render is the same template
with a short marker in the place of each. So rendering handles only what differs between recipients;
one pass of the encoder turns that into lines; one join puts the encoded stretches where the markers
are. Subject, text and HTML are one source, rendered in one call. For 25 KB of HTML with 20 holes
that costs about 50 µs, a third of it SHA-256.

**Why it is right.** Each stretch and each hole is encoded from its own characters, begins on a line
of its own and ends in a soft line break (RFC 2045 §6.7 rule 5), which decodes to nothing; so
decoding gives the rendered template, character by character, whatever loops and conditions did with
the markers. What minijinja would do to static text is done before the stretches are taken out
(`lexer`), and blocks whose text a template may look at keep theirs (`skeleton`).

**Why the hash is of what is sent.** The body is a fixed point of relaxed canonicalisation (RFC 6376
§3.4.4): tabs and a space after a space are encoded, so is a space at a line's end, and the body
ends in a line that isn't empty. The SHA-256 state behind the constant head is kept. Headers are
written with folds of CRLF + one space and no other white space in a row, so that their canonical
form is the form without folds (`headers`).

**Why nothing can be injected.** Values lose their control characters before they are rendered
(`values`), so none can pass for a marker or end a line of a header; header values leave `headers`
as printable ASCII with folds of ours, and an address is either one by RFC 5321's grammar or refused
(`addresses`). A boundary begins with `=_`, which quoted-printable text can't contain. No line
begins with a dot, so nothing is to be doubled (RFC 5321 §4.5.2), and none with `From `.

**Where things are.** `template`: what goes in and out. `composer`: compile and compose. `lexer`,
`html_scan`, `plaintext`, `tracking`, `source`, `skeleton`: at compile time. `values`,
`quoted_printable`, `headers`, `fields`, `unsubscribe`, `addresses`: for each letter. `raw`: a
caller's own MIME message.
"""

"""DKIM signatures, RFC 6376, with RSA and Ed25519 (RFC 8463). Pure; keys come in as PEM.

`signer` signs what `compose` made, with one hash and one operation of the private key; `foreign`
signs any message, with `canonical`. `keys` reads and makes keys and writes their DNS records.
Verification is not here: dkimpy does that.
"""

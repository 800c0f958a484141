"""Shaping: what a provider lets us do, written down as rules that can be checked, replayed and explained.

Rules are TOML files in the form that KumoMTA uses (its own files load unchanged), with a few keys of ours:
`evidence`, byte and recipient rates, an exact `Domain` in a provider's match list. One example:

    [provider."example"]
    match = [{MXSuffix = ".mx.example.net"}, {Domain = "example.net"}]
    provider_connection_limit = 5
    max_message_rate = "600/min"
    evidence = {source = "postmaster.example.net", seen = "2026-11-01", expires = "2027-05-01"}

    [[provider."example".automation]]
    regex = "too many messages"
    trigger = {Threshold = "3/hr"}
    action = {SetConfig = {name = "max_message_rate", value = "60/min"}}
    duration = "1 hour"

Begin with `rules` (what a rule is), then `reading` (TOML to rules, every error with its line), `effective`
(which limits apply, and who set them), `automation` (reply patterns with thresholds), `check` (rules that can't
do what they say) and `replay` (what would have fired). Nothing here reads a file, a clock or the network: texts,
times and MX hosts are arguments.
"""

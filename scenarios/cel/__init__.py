"""Expressions: the Common Expression Language, parsed by cel-python's grammar and compiled to closures of our own.

`syntax` makes a tree with places, `kinds` finds what can't be right before anything runs, `closures` compiles, and
`values` says what the operators mean. An expression can't loop, block, or change anything. CEL's language definition
(github.com/google/cel-spec, doc/langdef.md) rules; what is left out: unsigned integers, bytes, messages, `matches`.
"""

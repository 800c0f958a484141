"""The demo: a shop's event log of our own making, three scenarios, their templates, and what to do next.

What lives here: `generator` (the log), `behaviour` (the measured figures that it follows),
`scenarios/` and `templates/` (data files), `content` (loads them) and `guide` (the words at the
end). What may not: running anything. Begin with `generator`.
"""

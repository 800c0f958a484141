"""What operators need around the kernel: counting anew, checking, looking, the quarantine, watching room.

`counting` and `checking` tell whether what is stored agrees with itself: `counting` in a running worker too, in slices
over a consistent view; `checking` for a directory on which nothing runs. `showing` turns stored values into JSON,
`looking` finds and lists rows, `quarantine` shows inputs that raised, `room` watches disk and memory.

What may not live here: decisions about contacts or messages, and anything that writes rows: only a partition's own
tick does. Begin reading with `counting`.
"""

"""The message machine: how a message goes from `Send` to its last outcome. Pure. DESIGN §4.

- `machine` decides each input; begin there. `state` is what the store keeps of a message.
- `records`: what the machine is told and tells beside the engine's vocabulary; `stream_policy`: its configuration.
- `places`, `queue_marks`, `outcomes`, `reports`, `ending`: its decisions, by subject.
"""

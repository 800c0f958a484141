"""The suppression list of an instance.

Who owns it (`desk`), how all processes of a node know it (`files`, `follow`), and what fills it by itself
(`watching`: bounces and complaints in the feeds of the workers). What an entry means, and how it is decided, is in
`deliverability.suppression`.
"""

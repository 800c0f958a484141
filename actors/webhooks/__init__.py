"""Webhooks: outcomes of a tenant's mail, brought to its own endpoint. Standard Webhooks.

`signing` makes what is posted and signs it (pure); `sender` reads the outcome feed behind a durable cursor and posts,
with retries; `desk` runs one sender for each tenant that wants one, and answers questions. Begin with `sender`.
"""

"""Webhooks: what is brought to a tenant's own endpoints: outcomes of mail, and calls of scenarios. Standard Webhooks.

`signing` makes what is posted and signs it (pure); `posting` makes one try; `sender` reads events behind a durable
cursor and posts, with retries; `calls` brings the answers of calls back to their contacts; `desk` runs one sender for
each endpoint, and answers questions. Begin with `sender`.
"""

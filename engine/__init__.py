"""The kernel: partitions, store, agenda, identity, catalog, configuration. It knows no mail and no marketing.

What lives here: machines and their partitions (`machine`, `partition`, `host`), the stores (`store`), keys and ids
(`keyspace`, `ids`), what is published (`catalog`), the words that scenarios and deliverability share
(`vocabulary`). What may not: Ray, HTTP, SMTP, marketing rules; I/O outside `store`. Begin reading at `machine`,
then `partition`, then `host`.
"""

"""Twins: models of mail providers that answer as real ones do. Pure and seeded.

A twin stands where a provider would: it greylists, counts quotas, knows no such user, is slow,
hangs up. Each such habit is one *model*, a small state machine over (time, connection, envelope);
a *provider* is a list of models with a way of speaking; a `Twin` is several providers, told apart
by the domain of the forward-path.

    connection, verdict = twin.opened(now, "127.0.0.2")      220 twin.localhost …
    twin.mail(now, connection, "b+1@sender.example")         a shared port knows no provider yet
    twin.rcpt(now, connection, "ann@gmail.example")          421 4.7.28 …, cause "quota"
    twin.dot(now, connection, signed=True)                   taken, refused, or never answered

What a twin decides is a function of (configuration, seed, time, history), where time is what the
caller says it is: a log's time in a replay, the wall clock when run by hand. Its memory is
bounded, and whatever has expired is dropped.

Begin with `twin` (the whole), then `provider` (one of them, and the guarantee that every mail gets
in, in the end), then any model: `quota`, `greylist`, `connections`, `mailboxes`, `reputation`,
`faults`, `pace`. `dialects` has the words, `presets` the ready-made providers, `config` what a
TOML file may say.
"""

"""The command line. `main` holds the table of commands; each command is one module with a typer application `app`.

Modules that ask a running instance (`status`, `explain`, ...) import only what is light: no Ray, no web framework; they
speak HTTP over the local socket (`client`). Heavy imports belong inside functions.
"""

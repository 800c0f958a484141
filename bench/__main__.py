"""`python -m bench CASE`: the same command, for a checkout that isn't installed and for processes of `bench all`."""

from bench.cli import app

app(prog_name="python -m bench")

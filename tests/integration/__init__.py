"""The whole instance, as its users meet it: real processes, sockets, signals."""

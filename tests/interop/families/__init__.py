"""The rows of the client matrix, one module per family of client libraries, each with a tuple ``CLIENTS``.

A family's module says how each of its clients is had (installed privately, pinned, cached) and what its API can do.
"""

"""The HTTP face of the control plane: REST, the console's pages, metrics and health, on one listener.

Loaded in a thread after the Kafka listeners serve, and only where the configuration has a `[console]` table. Nothing
here decides anything about channels: everything is a call of an operation (`broker/operations/`).

    http.py        the listener: connections, their limits, TLS, the orderly end
    application.py the ASGI application: its routes, their order, errors
    protocol.py    one connection: its limits
    access.py      who may ask, by token, session and form; names of hosts, security headers
    keys.py        the password and the tokens
    sessions.py    who signed in
    rest.py        the routes made from the operations
    openapi.py     their description
    slices.py      answers that are made and sent in slices
    rendering.py   what pages are made with: templates, forms, calls of operations
    audit.py       the log of every change
    probes.py      /metrics /healthz /readyz
    pages/         the pages; `pages.ROUTES` has their routes
"""

"""One set of operations behind REST, command line and console.

An operation is a row: its name, its REST method and path, the struct of what it takes, the struct of what it gives, and
the function that does it. `table.py` has all rows; the REST interface, its OpenAPI description, the control socket, the
commands and the console's forms are made from them and call nothing else. So what one of them can do all can do, with
the same rules and the same sentences.

    operation.py   what a row is, refusals, how arguments are read and a call is made
    plane.py       what the functions work on
    table.py       all rows, in the order of the description
    channels.py groups.py sources.py records.py monitoring.py alerts.py server.py    rows and structs by subject

Structs are the public contract: field names are those of the JSON; times end in `_ms` (Unix epoch, source time where a
record's), durations in `_s` or `_ms`. Passwords are `Secret`: they come in and never go out.
"""

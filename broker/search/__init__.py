"""Looking through a channel's log for people, in a process of its own that reads segment files and writes none but its
filters.

    service.py     the server's side: starts and ends the process, takes turns among those who ask, starts another one
                   after a crash; what `broker/operations/records.py` calls
    process.py     the other side: what runs in the process
    protocol.py    what the two say to each other
    searching.py   one search: which stretches of the log, newest first, which records of them, until its time is spent
    conditions.py  what is asked for, as a test of a cell's bytes, as bytes that must be there, as keys of the filter
    cells.py       a cell's bytes as a value
    shown.py       a record as people are shown it
    records.py     records of a batch looked through; `_scan.c` does the same, compiled
    filters.py     making the filters of closed segments (`storage.search_filter`)
"""

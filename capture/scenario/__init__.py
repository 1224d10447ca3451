"""Scenarios: `.sql` files played on an embedded source, as if a server had run them.

`player.py` runs one statement after the other and knows sessions and transactions; `script.py` takes a file apart,
`changes.py` has INSERT, REPLACE, UPDATE and DELETE, `definitions.py` what a statement makes of a table's rows,
`clauses.py` what a definition says beyond columns and keys. Rows are in `tables.py`, numbered by `counting.py`.
Expressions are `parsing.py`, `special_forms.py`, `nodes.py`, `operators.py`, `functions.py` and `json_paths.py`, values
`comparing.py`, `texts.py` and `moments.py`; `assigning.py` says what a column makes of one. `followed.py` takes over
what calls changed (`capture/row_journal.py`).

What is not understood is refused by one sentence: a scenario never gives a record that a server would not have given.
"""

"""`binwire bench client -- COMMAND`: a known log, somebody's own consumer, and what became of every record."""

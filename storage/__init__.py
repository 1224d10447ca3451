"""The log on disk and the catalog: segments, indexes, recovery, retention, SQLite catalog. Imports nothing else of ours."""

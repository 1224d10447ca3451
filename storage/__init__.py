"""The log on disk and the catalog: segments, indexes, recovery, retention, SQLite. Imports nothing else of ours."""

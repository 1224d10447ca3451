"""Benchmarks: one question per file, each with a smoke size that the test suite runs and a hash of its result."""

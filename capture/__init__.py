"""MySQL to records: source, binlog events, row transcoder, schema history, channel; and values to binlog events."""

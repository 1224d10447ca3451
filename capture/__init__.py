"""MySQL to records: source connection, binlog events, row transcoder, schema history, channel; and values to binlog events."""

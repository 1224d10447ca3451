"""What clients and people talk to: Kafka protocol, groups, accounts, command line."""

"""What Binwire is measured against, a file per peer: how it is had, started, asked and ended."""

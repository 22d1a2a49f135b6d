"""Answer questions about content larger than any context window, with checked citations."""

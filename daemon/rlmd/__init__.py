"""Answer questions about content larger than any context window, with checked citations."""

__version__ = "0.1.0"

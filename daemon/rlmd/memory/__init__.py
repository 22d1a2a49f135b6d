"""What is remembered: written by one actor, on disk when acknowledged, read by anybody."""

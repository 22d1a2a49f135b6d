"""What `rlmd doctor` looks at, one module for each corner."""

"""One command prints every figure the README quotes: `make bench`."""

"""Speed beside rivals, in one run; see `python -m benchmarks`."""

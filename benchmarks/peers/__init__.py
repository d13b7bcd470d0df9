"""The systems that are measured, one file each; see `benchmarks.systems`."""

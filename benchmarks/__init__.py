"""What a durable workflow costs here. `python -m benchmarks CASE -n N` prints one JSON line."""

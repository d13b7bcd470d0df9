"""``python -m durable_async`` is the same program as ``durable``."""

from durable_async.cli import main

if __name__ == "__main__":
    main()

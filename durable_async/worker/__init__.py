"""The runtime: the one place where engine and store meet. One small loop per file."""

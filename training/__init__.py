"""Offline: rebuilds the benchmark PEToolBench and trains on it. Uses only the service's pure parts."""

"""Offline: rebuilds the benchmark PEToolBench and trains on it. Uses the service's pure parts, never its store or API."""

"""Any system on the benchmark by one command: answers, metrics, significance, report."""

"""Who writes the benchmark's text: any OpenAI-compatible model, or our own templates, offline."""

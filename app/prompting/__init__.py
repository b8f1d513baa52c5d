"""The one place that knows the prompt: wording, order, budget. Training and serving both build theirs here."""

"""Our own model from nothing: tokenizer, a small Llama that calls tools impersonally, and what `make model` runs."""

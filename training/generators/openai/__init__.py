"""The `openai` writer: text by any model behind an OpenAI-compatible chat endpoint, cached, counted and checked."""

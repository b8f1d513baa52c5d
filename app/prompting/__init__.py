"""The prompt: a user's instruction, history and candidates as tokens, within a budget.

`PromptBuilder` builds it in one of the versioned formats (`format_named`), with the served model's `PromptTokenizer`.
Serving, evaluation and training all build their prompts here, so that a model is asked as it was trained.
"""

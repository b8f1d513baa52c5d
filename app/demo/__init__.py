"""The demo: a small catalogue, its users with their histories, and a tour that shows what personalization changes.

`petool demo` runs it with its own database and without API keys.
"""

"""Repositories: the SQL of each part of the store, on one connection.

They take and return domain values or small records. `app.db.database` gives them out.
"""

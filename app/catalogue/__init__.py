"""Tool documents of several formats as `Tool`s.

`read_documents` finds the documents in files and folders, `parse` turns those of RapidAPI, OpenAI and OpenAPI into
tools, with JSON Schemas in one dialect and without references. Whatever comes in, every document ends as a tool, a
duplicate, or a rejection with its reason.
"""

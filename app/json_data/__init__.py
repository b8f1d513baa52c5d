"""JSON that is not ours: schemas and values checked, tools stored, names made writable.

`json_schemas` says what is wrong with a schema or a value, `tools` turns a `Tool` into JSON and back, `tool_names`
gives the names that models write, and `values` holds how JSON is written, stored and measured. All of it takes whatever
comes in: deep nesting, huge numbers, half surrogate pairs, patterns that backtrack without end.
"""

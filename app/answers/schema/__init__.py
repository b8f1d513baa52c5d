"""The JSON Schema of an answer, in terms that both grammar libraries read alike.

`answer` puts the candidates together, `values` bounds one parameter's schema, `scalars` holds the schemas of single
values, and `patterns` translates regular expressions. What cannot be said here is left to `app.answers.validation`.
"""

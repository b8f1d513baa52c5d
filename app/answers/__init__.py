"""What a model may answer, what its answer means, and whether a call is valid.

`answer_schema` is the JSON Schema under which an answer is decoded: one of the candidate tools, with its own
parameters, and an end to every value. `read_answer` finds the call in whatever a model wrote, `write_answer` writes
one, and `parameter_problems` and `value_problem` say in the paper's terms what is wrong with a call's parameters.
"""

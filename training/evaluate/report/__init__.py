"""The report of all evaluations on a benchmark, as Markdown and as one HTML file.

`write` lays it out, `sections` says what it consists of, `tables` and `charts` make that, and `paper` has the paper's
own figures. Nothing is measured here: everything is computed from the answers on disk.
"""

"""Our own catalogue at the paper's scale: things x actions are functionalities, providers compete for each of them.

`things.yaml` and `actions.yaml` say what tools do and how people ask for it, `attributes.yaml` what tools are like
apart from that. Nothing in the words for what a tool does depends on what it is like: an instruction gives away no
preference.
"""

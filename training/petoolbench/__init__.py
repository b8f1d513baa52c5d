"""PEToolBench rebuilt from a tool catalogue (paper, section 3.2), a module a stage."""

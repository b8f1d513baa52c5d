"""`petool-train sft`, `dpo`, `pairs`, `plan`."""

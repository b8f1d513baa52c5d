"""`python -m app`: the same as `petool`."""

from app.cli import main

main()

"""`python -m app`: the same as `petool`."""

from app.cli.main import main

main()

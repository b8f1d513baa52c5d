"""Data and tour for `make demo`: an invented catalogue, and users with different tastes."""

"""The service. It never imports `training`."""

__version__ = "0.1.0"

"""`petool adapters`: register, activate and watch LoRA adapters over the service's HTTP API."""

from app.admin_cli.commands import adapters

__all__ = ["adapters"]

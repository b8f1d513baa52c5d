"""Evaluates any system on a benchmark: the service's models and fallbacks, and models behind chat endpoints.

A system answers instances (`run`), its answers are kept on disk (`answers`), and are judged when they are reported
(`metrics`, `report`). Every system is one YAML file (`config`).
"""

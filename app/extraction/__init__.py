"""Filling a tool's parameters from an instruction without a language model."""

from app.extraction.extract import Extraction, extract_parameters

__all__ = ["Extraction", "extract_parameters"]

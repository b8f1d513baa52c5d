"""Fills a tool's parameters from an instruction without a language model.

An instruction is read once into spans (numbers, dates, names, quoted text, ...), and each span is scored for each
parameter by the parameter's name, schema and description and by the words beside the span. Every value that comes out
is valid under its parameter's schema; what the instruction does not state is reported as missing.
"""

from app.extraction.extract import Extraction, extract_parameters

__all__ = ["Extraction", "extract_parameters"]

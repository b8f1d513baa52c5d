"""What a model's chat template puts around a system and a user message, the same on every day.

Templates that print today's date print an empty one: these pieces come before the history, which an engine's prefix
cache keeps for longer than a day, and a date that stands still would be a wrong one. The prompt's format tells the day.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.domain import Json
from app.errors import SetupError

_SYSTEM, _USER = "petoolsystemmessage", "petoolusermessage"
JOINT = "\n\n"
"""Between the system's and the user's text where they are one message."""


@dataclass(frozen=True)
class ChatPieces:
    """A prompt is `before + system + between + user + after`; the last piece opens the answer."""

    before: str
    between: str
    after: str
    merged: bool = False
    """The template takes no system message: its text opens the user's."""


def chat_pieces(template: str | None, roles: Mapping[str, str]) -> ChatPieces:
    """`roles`: special tokens by role, which the template may print. No template: plain text after the BOS token.

    Raises SetupError for a template that does not work, or does not print the messages once each.
    """
    if template is None:
        return ChatPieces(roles.get("bos_token", ""), JOINT, "\n", merged=True)
    try:
        render = _renderer(template, roles)
    except TemplateError as error:
        raise SetupError(f"The model's chat template is not valid Jinja: {error}") from error
    pieces = _with_system(render)
    if pieces is not None:
        return pieces
    try:
        text = render([{"role": "user", "content": _USER}])
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise SetupError(f"The model's chat template refuses a user's message: {error}") from error
    if text.count(_USER) != 1:
        raise SetupError("The model's chat template does not print the user's message as it is, once.")
    before, after = text.split(_USER)
    return ChatPieces(before, JOINT, after, merged=True)


def _with_system(render: Callable[[list[dict[str, str]]], str]) -> ChatPieces | None:
    """None where the template refuses the system message, or leaves it out."""
    try:
        text = render([{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}])
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError):
        return None
    if text.count(_SYSTEM) != 1 or text.count(_USER) != 1 or text.index(_SYSTEM) > text.index(_USER):
        return None
    before, rest = text.split(_SYSTEM)
    between, after = rest.split(_USER)
    return ChatPieces(before, between, after)


def _renderer(template: str, roles: Mapping[str, str]) -> Callable[[list[dict[str, str]]], str]:
    """The environment that chat templates are written for, without a clock."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _no_date
    compiled = environment.from_string(template)
    # A thinking model would need its thoughts inside the schema.
    given: dict[str, Any] = {"add_generation_prompt": True, "enable_thinking": False, "tools": None, "documents": None}
    # Given, as templates have a default of their own where it is not.
    given |= {"date_string": "", **roles}
    return lambda messages: compiled.render(messages=messages, **given)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's text for training; here it is only its content."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _no_date(_format: str) -> str:
    return ""


def _to_json(value: Json, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(message)

"""The texts that a model's chat template puts around a system message and a user message.

A template that prints today's date gets an empty one: the pieces are rendered once, so the date would soon be wrong,
and a changing date would invalidate an engine's prefix cache. The prompt's format states the date instead.
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
"""Separator of the system's and the user's text if they are one message."""


@dataclass(frozen=True)
class ChatPieces:
    """Pieces of a prompt `before + system + between + user + after`. The model's answer follows the last one."""

    before: str
    between: str
    after: str
    merged: bool = False
    """Whether the template has no system message; the system's text then begins the user message."""


def chat_pieces(template: str | None, roles: Mapping[str, str]) -> ChatPieces:
    """The pieces of a chat template. `roles` are special tokens by role, such as `bos_token`, which it may print.

    Without a template, the prompt is plain text after the BOS token. Raises SetupError for a template that does not
    work, or that does not print each message once.
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
    """The pieces with a system message. None if the template refuses it or leaves it out."""
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
    """A function that renders the template, in the environment that chat templates are written for, without a clock."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _no_date
    compiled = environment.from_string(template)
    # Thinking is off: a model's thoughts would violate the schema of the answer.
    given: dict[str, Any] = {"add_generation_prompt": True, "enable_thinking": False, "tools": None, "documents": None}
    # Without `date_string`, templates would print a default date.
    given |= {"date_string": "", **roles}
    return lambda messages: compiled.render(messages=messages, **given)


class _Generation(Extension):
    """Renders the content of `{% generation %}`, which marks the assistant's text for training."""

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

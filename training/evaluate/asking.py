"""A question's prompt, as the service writes it."""

import asyncio

from app.errors import PromptTooLong
from app.prompting.builder import PromptBuilder
from app.prompting.prompt import Prompt
from training.evaluate.systems import Failed
from training.examples import Question, today_of


async def prompt_of(prompts: PromptBuilder, question: Question) -> Prompt:
    """Written in a thread: others are answered meanwhile. Raises Failed where it does not fit the budget."""
    return await asyncio.to_thread(_prompt, prompts, question)


def _prompt(prompts: PromptBuilder, question: Question) -> Prompt:
    instance = question.instance
    try:
        return prompts.build(
            instance.instruction,
            question.profile.setting,
            question.profile.interactions,
            question.ordered,
            relevance=question.relevance,
            today=today_of(instance),
        )
    except PromptTooLong as error:
        raise Failed(error.detail, alone=True) from error

"""The catalogue's documents, in RapidAPI's form, and what is true of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from app.domain import Json
from app.errors import SetupError
from training.common.seeding import rng, shuffled_by_hash
from training.common.stages import Progress, write_rows
from training.data.truth import TRUTH, Truth
from training.generators.catalogue.jobs import Job, Slot, categories, jobs
from training.generators.catalogue.providers import Provider, Providers, archetypes
from training.generators.lexicon import NEUTRAL, Lexicon, lexicon
from training.generators.values import TYPES, make_value

DOCUMENTS = "documents.jsonl"
_SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_SIZE_WEIGHTS = (6, 9, 12, 14, 13, 11, 9, 7, 5, 4, 3, 3, 2, 2)
_EXTRA, _LACKING, _UNSTATED, _REPEATED = 0.15, 0.1, 0.08, 0.1
_FUNCTION_FIRST = 0.75
_FLAWS = ("deprecated", "thin", "description", "name", "category")


def write_catalogue(
    tools: int, category_count: int, flawed: int, outright: float, seed: int, directory: Path, progress: Progress
) -> Mapping[str, Json]:
    """`documents.jsonl` with `tools` sound documents and `flawed` others among them, and `truth.jsonl` of the sound."""
    progress.start("Writing the catalogue", tools)
    documents: list[dict[str, Json]] = []
    truths: list[Truth] = []
    for document, truth in _documents(tools, category_count, outright, seed):
        documents.append(document)
        truths.append(truth)
        progress.advance(1)
    everything = {_name(document): document for document in documents}
    marred = _flawed(documents, flawed, rng(seed, "flaws"))
    # Sound documents first: of two with one name or one description, the first is the one that stays.
    order = shuffled_by_hash(everything, seed, "order of documents")
    write_rows(directory / DOCUMENTS, [*(everything[name] for name in order), *marred])
    write_rows(directory / TRUTH, (truth.to_json() for truth in truths))
    return {
        "tools": len(documents),
        "flawed": len(marred),
        "categories": len({truth.job.split("/")[0] for truth in truths}),
        "functionalities": len({truth.job for truth in truths}),
        "providers": len({(document["category_name"], document["tool_name"]) for document in documents}),
    }


def _documents(tools: int, category_count: int, outright: float, seed: int) -> Iterator[tuple[dict[str, Json], Truth]]:
    words = lexicon()
    bundles = archetypes(words, rng(seed, "archetypes"))
    taken: set[str] = set()
    names: set[str] = set()
    for category, sizes in _plan(tools, category_count, seed).items():
        random = rng(seed, "category", category)
        providers = Providers(words, bundles, taken, random)
        for job, size in sizes:
            for provider in providers.rivals(size):
                document, truth = _tool(job, provider, outright, words, random)
                while truth.tool_name in names:
                    document, truth = _tool(job, provider, outright, words, random)
                names.add(truth.tool_name)
                yield document, truth


def _plan(tools: int, category_count: int, seed: int) -> dict[str, list[tuple[Job, int]]]:
    """Functionalities by category, and how many tools compete in each: `tools` in all, categories of uneven size.

    Raises SetupError where there are not enough functionalities.
    """
    random = rng(seed, "plan")
    names = categories()[:category_count]
    left = {name: [job for job in jobs().values() if job.category == name] for name in names}
    for of_category in left.values():
        random.shuffle(of_category)
    weights = {name: random.uniform(0.5, 1.6) for name in names}
    plan: dict[str, list[tuple[Job, int]]] = {name: [] for name in names}
    total = 0
    while total < tools:
        open_ = [name for name in names if left[name]]
        if not open_:
            raise SetupError(f"{category_count} categories have functionalities for {total} tools, not for {tools}.")
        # Every category has one before any has a second.
        empty = [name for name in open_ if not plan[name]]
        name = empty[0] if empty else random.choices(open_, [weights[each] * len(left[each]) for each in open_])[0]
        size = min(random.choices(_SIZES, _SIZE_WEIGHTS)[0], tools - total)
        if tools - total - size == 1:
            # No functionality with a single tool at the end.
            size += 1 if size < _SIZES[-1] else -1
        plan[name].append((left[name].pop(), size))
        total += size
    return plan


def _tool(
    job: Job, provider: Provider, outright: float, words: Lexicon, random: Random
) -> tuple[dict[str, Json], Truth]:
    attributes = _attributes(provider, words, random)
    sentences = [
        words.attributes[key].sentence if random.random() < outright else random.choice(words.attributes[key].says)
        for key in attributes
    ]
    fillers = random.sample(NEUTRAL, random.choices((0, 1, 2), (5, 4, 1))[0])
    about = sentences + fillers
    random.shuffle(about)
    does = [job.written(text) for text in random.sample(job.does, 2 if random.random() < _REPEATED else 1)]
    first = random.random() < _FUNCTION_FIRST
    description = " ".join([*does, *about] if first else [*about[:1], *does, *about[1:]])
    document: dict[str, Json] = {
        "category_name": job.category,
        "tool_name": provider.name,
        "api_name": job.written(random.choice(job.api)),
        "api_description": description,
        "required_parameters": [_parameter(slot, random) for slot in job.slots if slot.required],
        "optional_parameters": [_parameter(slot, random) for slot in job.slots if not slot.required],
        "method": "GET",
        "template_response": {job.words["many_snake"]: [dict.fromkeys(job.returns, "str")]},
    }
    shown = dict.fromkeys([*attributes, *(each.key for each in words.in_name(provider.name))])
    return document, Truth(_name(document), job.key, tuple(shown))


def _attributes(provider: Provider, words: Lexicon, random: Random) -> list[str]:
    """The provider's attributes as this one tool shows them: perhaps one less, perhaps one of its own."""
    attributes = [key for key in provider.attributes if random.random() >= _UNSTATED] or list(provider.attributes[:1])
    if len(attributes) > 2 and random.random() < _LACKING:
        attributes.pop(random.randrange(len(attributes)))
    if random.random() < _EXTRA:
        facets = {words.attributes[key].facet for key in provider.attributes}
        attributes.append(random.choice([each.key for each in words.attributes.values() if each.facet not in facets]))
    return attributes


def _parameter(slot: Slot, random: Random) -> dict[str, Any]:
    members = slot.kind if isinstance(slot.kind, tuple) else ()
    says = random.choice(slot.says)
    if members and "one of" not in says.casefold():
        says = f"{says.rstrip('.')}. One of: {', '.join(members)}"
    # Half of real documents give an example as the default.
    default = make_value(slot.kind, random).value if random.random() < 0.5 else ""
    return {
        "name": slot.name,
        "type": "ENUM" if members else TYPES.get(str(slot.kind), "STRING"),
        "description": says,
        "default": default,
    }


def _name(document: Mapping[str, Json]) -> str:
    return f"{document['category_name']}.{document['tool_name']}.{document['api_name']}"


def _flawed(sound: Sequence[Mapping[str, Json]], count: int, random: Random) -> list[dict[str, Json]]:
    """Documents that preparation has to find, as real catalogues have them."""
    if not sound:
        return []
    return [_flaw(_FLAWS[number % len(_FLAWS)], random.choice(sound), number, random) for number in range(count)]


def _flaw(kind: str, model: Mapping[str, Json], number: int, random: Random) -> dict[str, Json]:
    other = {**model, "tool_name": f"{model['tool_name']} {number}"}
    if kind == "deprecated":
        note = random.choice(("[DEPRECATED] ", "Deprecated, use version three. ", "No longer maintained. "))
        return {**other, "api_description": f"{note}{model['api_description']}"}
    if kind == "thin":
        return {
            **other,
            "api_name": random.choice(("Get", "test", "v1", "run")),
            "api_description": random.choice(("", " ", "-")),
        }
    if kind == "description":
        return other
    if kind == "name":
        return {**model, "api_description": f"{model['api_description']} Second edition."}
    return {**other, "api_name": model["category_name"], "api_description": f"{model['api_description']} ({number})"}

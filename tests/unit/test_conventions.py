"""What the project promises about itself, held by tests: settings, compose file, README, OpenAPI document."""

import re
import tomllib
from pathlib import Path

import yaml
from compose_pydantic import ComposeSpecification

from app.composition.application import create_app
from app.composition.settings import Settings

ROOT = Path(__file__).parents[2]


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_example_environment_names_every_setting_with_its_default() -> None:
    assert list(example()) == [f"PETOOL_{name.upper()}" for name in Settings.model_fields]
    given = {name.removeprefix("PETOOL_").lower(): value for name, value in example().items() if value}
    assert Settings.model_validate(given) == Settings.model_validate({})


def comments() -> dict[str, str]:
    """By setting, the text above it in the example environment."""
    text = (ROOT / ".env.example").read_text("utf-8")
    blocks = re.findall(r"((?:^# .+\n)+)^(PETOOL_\w+)=", text, re.MULTILINE)
    return {name: " ".join(block.replace("\n# ", " ").removeprefix("# ").split()) for block, name in blocks}


def test_the_example_environment_describes_every_setting_as_the_code_does() -> None:
    described = {f"PETOOL_{name.upper()}": field.description or "" for name, field in Settings.model_fields.items()}
    assert comments() == {name: " ".join(text.split()) for name, text in described.items()}
    assert all(described.values())


def test_the_compose_file_is_valid_and_has_every_part() -> None:
    compose = ComposeSpecification.model_validate(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8")))
    assert compose.services is not None
    assert set(compose.services) == {"api", "postgres", "redis", "vllm"}


def test_the_compose_file_sets_only_settings_that_exist() -> None:
    api = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["api"]
    hub = {"HF_HOME", "HF_TOKEN"}
    assert set(api["environment"]) - hub <= set(example())


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_the_readme_names_only_make_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", readme))
    assert {"demo", "test"} <= named
    assert named <= make_targets()


def test_ci_runs_nothing_that_the_readme_does_not_say() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test", "make check"]


def test_every_dependency_has_an_upper_bound_or_a_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    loose = [name for name in project["dependencies"] if not re.search(r"<|==", name)]
    assert loose == []


def test_every_route_says_what_it_does_and_which_problems_it_answers_with() -> None:
    for path, operations in create_app(Settings(demo_mode=True)).openapi()["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)

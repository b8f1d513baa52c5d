"""Types that several requests and answers share."""

import re
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

# Anything a front end calls its users, but not what a log or a database cannot hold.
# No slash either: in a path it would end the id, encoded or not.
_VISIBLE = r"^[^\x00-\x1f\x7f/]+$"
# PostgreSQL's text holds any character but this one.
NO_NUL = r"^[^\x00]*$"

_MAX_USER_ID = 200


def is_user_id(text: str) -> bool:
    return 0 < len(text) <= _MAX_USER_ID and re.fullmatch(_VISIBLE, text) is not None


UserId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=_MAX_USER_ID,
        pattern=_VISIBLE,
        description="The front end's own id of the user. An id not seen before is a new user.",
        examples=["ada"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="At most this many items.")]
Cursor = Annotated[
    str | None,
    Query(max_length=200, description="`next_cursor` of the page before; none for the first page."),
]


class Model(BaseModel):
    """Unknown fields are errors: a misspelt option must not be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolCallModel(Model):
    tool_name: str = Field(min_length=1, max_length=512, examples=["Weather.Nimbus.Daily forecast"])
    parameters: dict[str, Any] = Field(default_factory=dict, examples=[{"city": "Lisbon"}])


class Problem(BaseModel):
    """RFC 9457. `type` is stable; `detail` is for people; further members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:petool:problem:unknown-tools"])
    title: str
    status: int
    detail: str
    request_id: str | None = None

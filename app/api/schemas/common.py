"""Types that several requests and responses share."""

import re
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

# Any name that a front end may give its users, without control characters, which logs and the database refuse, and
# without a slash, which would end the id in a path, encoded or not.
_VISIBLE = r"^[^\x00-\x1f\x7f/]+$"
# The only character that PostgreSQL's type `text` cannot hold.
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
        description="Id of the user, as the front end names them. A call or import for an unknown id creates the user.",
        examples=["ada"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items in the response.")]
Cursor = Annotated[
    str | None,
    Query(max_length=200, description="`next_cursor` of the previous page. Leave it out for the first page."),
]


class Model(BaseModel):
    """Base of requests and responses. Unknown fields are errors, so that a misspelt option is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolCallModel(Model):
    tool_name: str = Field(min_length=1, max_length=512, examples=["Weather.Nimbus.Daily forecast"])
    parameters: dict[str, Any] = Field(default_factory=dict, examples=[{"city": "Lisbon"}])


class Problem(BaseModel):
    """An error as RFC 9457 has it. `type` is stable; `detail` is for people; other members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:petool:problem:unknown-tools"])
    title: str
    status: int
    detail: str
    request_id: str | None = None

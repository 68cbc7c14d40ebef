"""What a group of settings is made of, for the modules that bring their own."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Group(BaseModel):
    """Settings that belong together; a member's variable is `APP_<GROUP>__<NAME>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

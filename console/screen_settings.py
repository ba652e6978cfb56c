"""`[console]` in `mtok.toml`: how the screen looks, what its keys are, and whether it may act."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ThemeName = Literal["auto", "dark", "light", "ansi", "ansi-light"]


class ConsoleSection(BaseModel):
    """`theme` auto asks the terminal for its background. `keys`: keys by the id of what they do, as `?` lists them.

    `ascii`: signs of ASCII alone; without it, wherever the locale is not UTF-8. `plain_output`: send what Textual
    sends, not only the cells that changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    theme: ThemeName = "auto"
    read_only: bool = False
    mouse: bool = True
    ascii: bool | None = None
    plain_output: bool = False
    keys: dict[str, str] = Field(default_factory=dict)

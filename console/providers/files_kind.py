"""Bills in files as a kind of provider: a folder of exports, for every cloud that bills by files."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from console.providers.registry import Facts, Opening, Options, ProviderKind
from console.setting_types import Duration

if TYPE_CHECKING:
    from console.providers.protocol import Provider


class FilesOptions(Options):
    """Where the files are, and how late they may be.

    `newest_within`: billing is dark when no file has changed for longer. `lag`: how far a period that has not ended
    may trail behind its file. `corrections_for`: for how long after its end a period's rows are still looked at.
    """

    folder: Path
    patterns: tuple[str, ...] = ("*.csv", "*.csv.gz")
    newest_within: Duration = timedelta(hours=36)
    lag: Duration = timedelta(0)
    corrections_for: Duration = timedelta(days=10)

    @model_validator(mode="after")
    def _in_order(self) -> "FilesOptions":
        if self.corrections_for < self.newest_within:
            msg = "corrections_for is shorter than newest_within: what is late would never be counted"
            raise ValueError(msg)
        return self


def _open(opening: Opening) -> "Provider":
    from console.providers.files import Files

    assert isinstance(opening.options, FilesOptions)
    return Files(opening.name, opening.folder, opening.options, opening.named, clock=opening.clock)


KIND = ProviderKind(
    kind="files",
    title="Bills in files",
    base_url="",
    facts=Facts(
        bill="bucket",
        step=None,
        steps_are="the length of the charge periods in the files: an hour, a day",
        asleep_bills="whatever the files say",
        sleep_loses="not told: there is no power switch",
        bills_volumes=True,
        can_backfill=True,
        currency="stated",
        least_poll=timedelta(0),
        source="the files themselves; FOCUS 1.2 (focus.finops.org)",
    ),
    open=_open,
    options=FilesOptions,
    needs_key=False,
)

"""Every key of the console. The ids are what settings remap; the first word of an id groups them in the help."""

from collections.abc import Iterable, Mapping

from textual.binding import Binding, BindingType

from store.errors import SettingsError

PAGES = ("Fleet", "Tier", "Band", "Gate", "Billing", "Journal", "Help")
ACTS = ("hibernate", "wake", "reset_gate", "close_gate", "open_gate")
"""Actions that change something: not bound where the console is read-only."""
OF_NOW = (*ACTS, "host_logs")
"""Actions on what is now: not bound where the past is shown."""
OF_THE_PAST = ("replay_window",)
"""Actions on a replay alone."""
OWN_USERS = ("export", "host_logs")
"""Actions that write a file or use an SSH key of this user: not bound in a browser, where anybody may sit."""


def _screen(n: int, name: str) -> Binding:
    """The key of a numbered screen; the first one stands for all in the line of keys."""
    is_first = n == 1
    return Binding(
        str(n),
        f"page('{name}')",
        "Screens" if is_first else name,
        id=f"screen.{name.lower()}",
        show=is_first,
        key_display=f"1-{len(PAGES)}" if is_first else None,
        tooltip=f"the screen {name}",
    )


BINDINGS: list[BindingType] = [
    Binding("h", "hibernate", "Hibernate", id="tier.hibernate", tooltip="hibernate the tier; asks first"),
    Binding("w", "wake", "Wake", id="tier.wake", tooltip="wake the tier; asks first"),
    Binding("l", "host_logs", "Host logs", id="tier.logs", show=False, tooltip="follow its host's log over SSH"),
    Binding("r", "reset_gate", "Reset", id="gate.reset", tooltip="add to today's budget; asks first"),
    Binding("c", "close_gate", "Close gate", id="gate.close", show=False, tooltip="close the gate; asks first"),
    Binding("o", "open_gate", "Open gate", id="gate.open", show=False, tooltip="open it again; asks first"),
    *(_screen(n, name) for n, name in enumerate(PAGES, 1)),
    Binding(
        "left_square_bracket",
        "window(-1)",
        "Window before",
        id="app.before",
        show=False,
        tooltip="the window before, where a screen has one; in a replay, the minute before",
    ),
    Binding(
        "right_square_bracket",
        "window(1)",
        "Window",
        id="app.next",
        key_display="[ ]",
        tooltip="the next window, where a screen has one; in a replay, the next minute",
    ),
    Binding("left_curly_bracket", "replay_window(-1)", "Window before", id="replay.before", show=False),
    Binding("right_curly_bracket", "replay_window(1)", "Window", id="replay.next", key_display="{ }"),
    Binding("e", "export", "Export", id="app.export", tooltip="write what is shown to a CSV file"),
    Binding("p", "pause", "Pause", id="app.pause", show=False, tooltip="let figures stand still; again: go on"),
    Binding("y", "copy", "Copy", id="app.copy", show=False, tooltip="copy the tier's name (OSC 52)"),
    Binding("Y", "copy_row", "Copy row", id="app.copy-row", show=False, tooltip="copy the row"),
    Binding(
        "colon,ctrl+p", "command_palette", "Commands", id="app.commands", show=False, tooltip="all commands by name"
    ),
    Binding("question_mark", "page('Help')", "Help", id="app.help", tooltip="all keys and words"),
    Binding("ctrl+l", "redraw", "Redraw", id="app.redraw", show=False, tooltip="draw every cell again"),
    Binding("q", "quit", "Quit", id="app.quit"),
    Binding("ctrl+c", "quit", "Quit", id="app.interrupt", show=False, priority=True),
]


def check_keys(keys: Mapping[str, str], bindings: Iterable[Binding]) -> Mapping[str, str]:
    """Remapped keys by binding id, as Textual wants them.

    Raises:
        SettingsError: no such id, or one key for two of them.
    """
    known = {binding.id: binding for binding in bindings if binding.id}
    for id_ in keys:
        if id_ not in known:
            raise SettingsError(f"console.keys.{id_}", "there is no such key", f"choose from: {', '.join(known)}")
    taken: dict[str, str] = {}
    for id_, binding in known.items():
        for key in keys.get(id_, binding.key).split(","):
            before = taken.setdefault(key.strip(), id_)
            if before != id_ and (id_ in keys or before in keys):
                mapped, other = (id_, before) if id_ in keys else (before, id_)
                raise SettingsError(
                    f"console.keys.{mapped}", f"{key!r} is also the key of {other}", "choose another"
                )
    return dict(keys)

"""The engine that the settings name."""

from collections.abc import Callable

from agent.engine.protocol import Engine
from agent.settings import AgentSettings


def open_engine(settings: AgentSettings, say: Callable[[str], None] = lambda _doing: None) -> Engine:
    """Open it, which may take minutes, and say what is being done; what only one engine needs is imported here.

    Raises:
        AgentError: it cannot be opened.
    """
    if settings.engine == "null":
        from agent.engine.null import NullEngine

        return NullEngine(settings.limits.max_batch, settings.null.tokens_per_step, settings.null.step_ms)
    if settings.engine == "exllamav2":
        from agent.engine.exllamav2_load import open_exllamav2

        return open_exllamav2(settings, say)
    from agent.engine.reference import open_reference

    return open_reference(settings.beside(settings.model_dir), settings.limits.max_batch)

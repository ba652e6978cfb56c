"""`python -m tests.reference` writes docs/reference.md from the code: commands, settings, codes, exit statuses."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
_HEAD = """# Reference

Made from the code by `python -m tests.reference`; a test fails when it is not up to date. `--help` says the same.
"""


def page() -> str:
    """The whole page."""
    from agent.cli import app as agent_app
    from console.cli import app as console_app

    parts = [
        _HEAD,
        "## Commands\n",
        *_commands(get_command(console_app), "mtok"),
        *_commands(get_command(agent_app), "mtok agent"),
        "## Exit codes\n",
        *_exit_codes(),
        "\n## Settings: `mtok.toml`\n",
        *_settings(_console_model(), ""),
        "\n## Settings of each kind of provider\n",
        *_kinds(),
        "\n## Settings: `agent.toml`\n",
        *_settings(_agent_model(), ""),
        "\n## Codes of the agent's API\n",
        "In `error.code` of an answer in OpenAI's shape; a 503 or 429 has `Retry-After`.\n",
        "| code | said when |\n| --- | --- |",
        *(f"| `{code}` | {told} |" for code, told in sorted(api_codes().items())),
        "\n## Why the gate is closed\n",
        "| reason | |\n| --- | --- |",
        *_reasons(),
        "",
    ]
    return "\n".join(parts)


def _commands(command: Any, name: str) -> Iterator[str]:
    """A command's usage, its help and its options; then its subcommands."""
    if getattr(command, "commands", None):
        for child in sorted(command.commands):
            found = command.commands[child]
            if not (name == "mtok" and child == "agent") and not found.hidden:
                yield from _commands(found, f"{name} {child}")
        return
    arguments = [_metavar(param) for param in command.params if param.param_type_name == "argument"]
    yield f"### `{' '.join([name, *arguments])}`\n"
    yield f"{_one_line(command.help or '')}\n"
    rows = [param for param in command.params if param.param_type_name == "option" and "--help" not in param.opts]
    if rows:
        yield "| option | |\n| --- | --- |"
        yield from (f"| `{_option(param)}` | {_one_line(param.help or '')} |" for param in rows)
        yield ""


def _metavar(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required else f"[{name}]"


def _option(param: Any) -> str:
    names = ", ".join([*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} {param.metavar or param.name.upper()}"


def _exit_codes() -> Iterator[str]:
    from store.errors import ExitCode

    yield "| code | |\n| --- | --- |"
    yield from (f"| {int(code)} | {code.name.lower().replace('_', ' ')} |" for code in ExitCode)


def _console_model() -> type[BaseModel]:
    from console.settings import Settings

    return Settings


def _agent_model() -> type[BaseModel]:
    from agent.settings import AgentSettings

    return AgentSettings


def _kinds() -> Iterator[str]:
    from console.providers.registry import BUILT_IN, provider_kind

    for name in BUILT_IN:
        kind = provider_kind(name)
        yield f'### `kind = "{name}"`: {kind.title}\n'
        rows = list(_rows(kind.options))
        yield from ["| key | default |\n| --- | --- |", *rows, ""] if rows else ["Nothing of its own.\n"]


def _settings(model: type[BaseModel], where: str) -> Iterator[str]:
    """A table a section; sections inside it follow."""
    told = _one_line((model.__doc__ or "").strip())
    yield f"### `{where or '(top)'}`\n"
    yield f"{told}\n"
    rows = list(_rows(model))
    if rows:
        yield "| key | default |\n| --- | --- |"
        yield from rows
        yield ""
    for name, field in model.model_fields.items():
        inner = _section(field)
        if inner is not None:
            many = "[]" if "tuple" in str(field.annotation) else ".NAME" if "dict" in str(field.annotation) else ""
            yield from _settings(inner, f"{where}.{name}{many}".lstrip("."))


def _rows(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name != "path" and _section(field) is None:
            yield f"| `{name}` | {_default(field)} |"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, or holds many of."""
    for found in _types(field.annotation):
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _types(inner)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(must be given)"
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, (), {}) else f"`{_told(value)}`"


def _told(value: Any) -> str:
    from datetime import timedelta

    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
            if seconds and seconds % size == 0:
                return f"{seconds // size}{unit}"
        return f"{seconds}s"
    return str(value).lower() if isinstance(value, bool) else str(value)


def api_codes() -> dict[str, str]:
    """By code, the message that is sent with it, read off the agent's source."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "agent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "ApiError",
                "PromptError",
                "Refusal",
            ):
                texts = [_literal(one) for one in node.args]
                codes = [text for text in texts if text and re.fullmatch(r"[a-z_]{4,40}", text)]
                told = next((text for text in texts if text and " " in text), "")
                if codes:
                    found.setdefault(codes[0], told or "see the message")
    return {**found, **_closed_codes()}


def _closed_codes() -> dict[str, str]:
    from agent import lease

    source = Path(lease.__file__).read_text(encoding="utf-8")
    codes = re.findall(r'"(budget_exhausted|billing_unobservable|gate_closed|draining|no_lease)"', source)
    return dict.fromkeys(codes, "the gate is closed, or there is no lease: nothing is served")


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values)
    return ""


def _reasons() -> Iterator[str]:
    from store.gate import Reason

    source = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    for reason in Reason:
        row = re.search(rf"^\| `{reason}` \| (.*?) \|", source, re.MULTILINE)
        yield f"| `{reason}` | {row.group(1) if row else ''} |"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    typer.echo(f"wrote {PAGE.relative_to(ROOT)}")

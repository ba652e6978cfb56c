"""The settings file that `mtok init` writes: every setting with a line on what it is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.providers.protocol import Resource
from console.setup.proposal import Agent, Proposed, printable


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the file shall say. One of `key_env` and `key_file`, or neither for a kind without a key.

    `daily`: limits in other currencies than USD.
    """

    provider: str
    kind: str
    title: str
    daily_usd: str
    timezone: str
    tiers: Sequence[Proposed]
    left: Sequence[Resource]
    key_env: str | None = None
    key_file: Path | None = None
    base_url: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    daily: tuple[tuple[str, str], ...] = ()


def settings_text(plan: Plan) -> str:
    """The whole file."""
    top = "" if plan.tiers else "\ntiers = []                            # none yet: see the end of this file\n"
    parts = [
        _HEAD + top,
        _STORE,
        _budget(plan),
        _ALARMS,
        _provider(plan),
        *(_tier(plan, tier) for tier in plan.tiers),
    ]
    return "\n".join([*parts, _rest(plan)])


_HEAD = """\
# mtok.toml, written by `mtok init`. `mtok doctor` says whether everything in it can be used.
# A secret never stands here: a setting names an environment variable (…_env), a file (…_file), or a
# credential that systemd passes (…_credential). Amounts are texts, so that they are exact.
"""
_STORE = """\
[store]
# Where figures, operations and the journal are; a relative path starts at this file. When one machine is not
# enough: "postgresql+psycopg://USER@HOST/mtok".
url = "sqlite:///mtok.db"
"""
_ALARMS = """\
[alarms]
# Called after each complete tick: a dead man's switch, which notices when nobody collects any more.
# heartbeat_url = "https://…"
# Who is told: an apprise URL each (Slack, PagerDuty, e-mail, ntfy, …), which holds a secret.
# channels = [{ name = "ops", url_env = "OPS_ALARM_URL" }]
"""


def _budget(plan: Plan) -> str:
    limits = ", ".join(f"{currency} = {quoted(amount)}" for currency, amount in plan.daily)
    daily = f"# The same for what is billed in other currencies.\ndaily = {{ {limits} }}\n" if limits else ""
    return f"""\
[budget]
# What may be billed in a day. When it is spent the gate closes, and every tier hibernates.
daily_usd = {quoted(plan.daily_usd)}
{daily}# Where a day begins.
timezone = {quoted(plan.timezone)}
# For how long billing may be silent before nothing more is served.
dark_after = "170s"
"""


def _provider(plan: Plan) -> str:
    lines = [
        f"[providers.{plan.provider}]",
        f"# {plan.title}; see `mtok provider list`.",
        f"kind = {quoted(plan.kind)}",
    ]
    if plan.key_env is not None:
        lines += ["# The variable that holds the API key.", f"api_key_env = {quoted(plan.key_env)}"]
    if plan.key_file is not None:
        lines += [
            "# The file that holds the API key; its owner alone may read it.",
            f"api_key_file = {quoted(str(plan.key_file))}",
        ]
    if plan.base_url is not None:
        lines += [
            "# Where its API is; without this line, the provider's own address.",
            f"base_url = {quoted(plan.base_url)}",
        ]
    lines += [f"{name} = {quoted(value)}" for name, value in plan.options]
    lines += [
        "# Other people's machines in the same account; everything else that is billed counts.",
        '# ignore = [{ id = "123", reason = "the build server" }]',
    ]
    return "\n".join([*lines, ""])


def _tier(plan: Plan, tier: Proposed) -> str:
    lines = [
        "[[tiers]]",
        f"# {printable(tier.about)}",
        f"name = {quoted(tier.name)}",
        f"provider = {quoted(plan.provider)}",
        '# gpu = "H100 PCIe"                  # shown beside its name',
        f"market = {quoted(tier.market)}",
        f"instances = [{quoted(tier.instance)}]",
        f"volumes = [{', '.join(map(quoted, tier.volumes))}]",
        '# Without a token for so long it hibernates by itself; "never" leaves that to people.',
        'idle_after = "15m"',
        '# daily_usd = "80"                   # a limit of its own',
        *_agents(tier),
    ]
    return "\n".join([*lines, ""])


def _agents(tier: Proposed) -> list[str]:
    if tier.agent is None:
        return [
            "# Its agent counts tokens. Without one its spend is known, and its cost per token is not.",
            f'# agents = [{{ name = "{tier.name}", instance = {quoted(tier.instance)}, ssh_user = "ubuntu", '
            f'control_secret_file = "secrets/{tier.name}.secret" }}]',
        ]
    return [f"agents = [{{ {', '.join(f'{name} = {value}' for name, value in _fields(tier, tier.agent))} }}]"]


def _fields(tier: Proposed, agent: Agent) -> list[tuple[str, str]]:
    fields = [("name", quoted(agent.name)), ("instance", quoted(tier.instance))]
    if agent.control_url is not None:
        fields.append(("control_url", quoted(agent.control_url)))
    if agent.ssh_user is not None:
        fields.append(("ssh_user", quoted(agent.ssh_user)))
    if agent.ssh_port is not None:
        fields.append(("ssh_port", str(agent.ssh_port)))
    return [*fields, ("control_secret_file", quoted(str(agent.secret_file)))]


def _rest(plan: Plan) -> str:
    """What the account has and no tier names, as comments: it counts as `unassigned`."""
    lines = []
    if plan.left:
        lines.append("# In the account and in no tier; billed, counted and shown as `unassigned`:")
        lines += [f"#   {_described(one)}" for one in plan.left]
    if not plan.tiers:
        lines += ["# A tier is written so; `tiers = []` at the top goes then:", *_AN_EXAMPLE]
    return "\n".join([*lines, ""]) if lines else ""


def _described(one: Resource) -> str:
    return printable(f"{one.ref.kind} {one.ref.id}  {one.name} ({one.raw_state})")


_AN_EXAMPLE = (
    "# [[tiers]]",
    '# name = "h100"',
    '# provider = "…"',
    '# market = "spot"                     # or "on-demand", "reserved"',
    '# instances = ["…"]                   # ids, as the provider lists them',
    '# volumes = ["…"]',
)


def quoted(text: str) -> str:
    """A TOML string, whatever letters are in `text`. Source: toml.io, v1.0.0, "String"."""
    return '"' + "".join(map(_letter, text)) + '"'


def _letter(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"

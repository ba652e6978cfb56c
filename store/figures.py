"""A tier's figures: its spend, its usage, and the ratios of their sums. `store.figures_read` reads them."""

from dataclasses import dataclass
from fractions import Fraction

from store.capacity import load_of
from store.money import per_mtok_nusd
from store.unknown import Unknown
from store.window import Edges, Window

Trend = tuple[int | Unknown, ...]
NO_TOKENS = Unknown("no tokens")


@dataclass(frozen=True, slots=True)
class Spend:
    """Money billed between `edges`, in nano-units of `currency`, with its sign: credits lower it."""

    nusd: int
    currency: str
    edges: Edges


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, requests and busy milliseconds between `edges`.

    `running_ms`: how long the tier's instances ran, added up over them. `capacity_per_ks`: completion tokens in
    1000 s that the agents which answered between the edges could make at most, as each said last.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    delivered_tokens: int
    requests: int
    busy_ms: int
    reserved_prompt_tokens: int
    reserved_completion_tokens: int
    edges: Edges
    capacity_per_ks: int | Unknown

    @property
    def running_ms(self) -> int:
        """Milliseconds that the tier's instances ran, added up over them."""
        return self.edges.running_ms


@dataclass(frozen=True, slots=True)
class Figures:
    """A tier's figures in a window. Ratios are made from the sums, never from other ratios."""

    window: Window
    edges: Edges | Unknown
    spend: Spend | Unknown
    usage: Usage | Unknown

    @property
    def currency(self) -> str | None:
        """What the spend is in, where it is known."""
        return None if isinstance(self.spend, Unknown) else self.spend.currency

    @property
    def output_nusd_per_mtok(self) -> int | Unknown:
        """Spend ÷ completion tokens × 10⁶, in nano-dollars."""
        if isinstance(self.usage, Unknown):
            return self.usage
        return self._per_mtok(self.usage.completion_tokens)

    @property
    def total_nusd_per_mtok(self) -> int | Unknown:
        """Spend ÷ (prompt + completion tokens) × 10⁶, in nano-dollars."""
        if isinstance(self.usage, Unknown):
            return self.usage
        return self._per_mtok(self.usage.prompt_tokens + self.usage.completion_tokens)

    @property
    def utilisation(self) -> Fraction | Unknown:
        """Busy time ÷ running time of the tier's instances."""
        if isinstance(self.usage, Unknown):
            return self.usage
        if not self.usage.running_ms:
            return Unknown("no instance ran")
        return Fraction(min(self.usage.busy_ms, self.usage.running_ms), self.usage.running_ms)

    @property
    def load(self) -> Fraction | Unknown:
        """Completion tokens per second ÷ the capacity of the tier's agents, as `mtok agent bench` measured it."""
        if isinstance(self.usage, Unknown):
            return self.usage
        if isinstance(self.usage.capacity_per_ks, Unknown):
            return self.usage.capacity_per_ks
        edges = self.usage.edges
        return load_of(self.usage.completion_tokens, edges.end_at - edges.start_at, self.usage.capacity_per_ks)

    def _per_mtok(self, tokens: int) -> int | Unknown:
        if isinstance(self.spend, Unknown):
            return self.spend
        return per_mtok_nusd(self.spend.nusd, tokens) if tokens else NO_TOKENS

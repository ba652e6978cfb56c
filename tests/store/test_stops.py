"""What a wake may cost: at the price of the GPU, whatever the bills of the hours asleep quote."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from store.gate import GatePolicy
from store.inventory import keep_resources
from store.preflight import preflight
from store.stops import wake_cost_nusd, wake_rate_nusd_per_hour
from store.unknown import Unknown
from store.verdicts import verdict_now
from store.words import State
from tests.conftest import START, History, an_instance

HOUR = timedelta(hours=1)
USD = 10**9
AWAKE, DISK = 3 * USD, 6 * 10**6
POLICY = GatePolicy(20 * USD, ZoneInfo("UTC"), timedelta(seconds=170))
COST = 9 * USD // 10  # the wake, a tick, the drain and the sleep: 18 minutes


def inventory(history: History, state: State) -> None:
    row = an_instance(state, history.clock.now())
    with history.database.write() as session:
        keep_resources(session, "cloud", [row], history.clock.now(), complete=False)


def hour(history: History, index: int, state: State) -> None:
    """An hour of the instance's, with a bucket of its own that is final at the hour's end."""
    start, rate = START + index * HOUR, AWAKE if state == State.RUNNING else DISK
    bucket = {
        "counter": f"bucket:{index}",
        "started_at": start,
        "ends_at": start + HOUR,
        "rate_nusd_per_hour": rate,
    }
    inventory(history, state)
    for part in range(3):
        history.tick(history.bill(part * rate // 2, **bucket), after_s=1800 if part < 2 else 0)
    history.tick(history.bill(rate, **bucket, final=True), after_s=0)


def cost(history: History) -> int | Unknown:
    with history.database.read() as session:
        verdict = verdict_now(session, POLICY, history.clock.now())
        rate = wake_rate_nusd_per_hour(session, verdict, "h100")
        return rate if isinstance(rate, Unknown) else wake_cost_nusd(POLICY, rate)


def test_a_wake_costs_what_the_gpu_did_though_its_hours_are_final(history: History) -> None:
    hour(history, 0, State.RUNNING)
    hour(history, 1, State.ASLEEP)
    assert cost(history) == COST


def test_the_price_of_the_gpu_is_known_after_weeks_asleep(history: History) -> None:
    hour(history, 0, State.RUNNING)
    hour(history, 1, State.ASLEEP)
    history.clock.advance(20 * 86_400)
    hour(history, 20 * 24 + 2, State.ASLEEP)
    assert cost(history) == COST


def test_several_open_buckets_of_one_machine_are_woken_once(history: History) -> None:
    inventory(history, State.ASLEEP)
    buckets = [history.bill(0, counter=f"bucket:{n}", rate_nusd_per_hour=AWAKE) for n in range(3)]
    history.tick(*buckets)
    assert cost(history) == COST


def test_what_has_never_quoted_a_rate_costs_nobody_knows_what_and_the_preflight_says_so(history: History) -> None:
    inventory(history, State.ASLEEP)
    for minute in range(8):  # until its bill shows a slope, nothing is bounded and the gate is closed
        history.tick(history.bill(minute // 2 * 1000, rate_nusd_per_hour=None))
    assert cost(history) == Unknown("instance 8429 has quoted no rate")
    with history.database.read() as session:
        verdict = verdict_now(session, POLICY, history.clock.now())
        gate, *_ = preflight(session, POLICY, verdict, "h100", [])
    said = "open; whether the wake fits the limit is not known: instance 8429 has quoted no rate"
    assert (gate.is_ok, gate.text) == (None, said)


def test_an_instance_that_is_listed_no_more_costs_nothing(history: History) -> None:
    hour(history, 0, State.RUNNING)
    with history.database.write() as session:
        keep_resources(session, "cloud", [], history.clock.now(), complete=True)
    assert cost(history) == 0

"""What the agent adds to the tree of `store/errors.py`.

MtokError
└── AgentError               exit code 1
    ├── DamagedCheckpoint        a model directory that cannot be run
    ├── PromptError              a request that the engine refuses before any work
    ├── VanishingStorage         a path whose contents sleeping destroys
    ├── KeyRefused               a key that cannot be made or revoked
    ├── EngineFailed             the engine's thread or a step of it broke
    ├── AnswerStuck              a JSON schema that leads nowhere, found out amid an answer
    ├── EngineLacks              something that the engine needs is not on this machine
    ├── BuildFailed              the engine's extension could not be compiled
    ├── GpuUnread                a GPU's figure that its driver does not give
    ├── BenchStopped             a benchmark that has no result
    └── LedgerError              exit code 4
        ├── LedgerUnreadable         cannot be opened, or is another program's file
        ├── LedgerVersion            a newer mtok made it
        ├── LedgerInUse              another agent holds it
        ├── LedgerMismatch           totals differ from the sum of the entries
        └── LedgerUnwritable         a commit failed
"""

from pathlib import Path

from store.errors import ExitCode, MtokError


class AgentError(MtokError):
    """The root of the agent's branch."""


class DamagedCheckpoint(AgentError):
    """A file of the model directory that is missing, cut short or not what it claims to be."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"model {path}: {problem}; {remedy}")
        self.path, self.problem, self.remedy = path, problem, remedy


class PromptError(AgentError):
    """A prompt that cannot be run. `code` and `param` are those of the OpenAI error envelope."""

    def __init__(self, message: str, code: str, param: str) -> None:
        super().__init__(message)
        self.message, self.code, self.param = message, code, param


class VanishingStorage(AgentError):
    """A path that must outlive a sleep of this machine, and would not."""

    def __init__(self, what: str, path: Path, reason: str) -> None:
        super().__init__(
            f"{what} {path}: {reason}; put it on a volume that is kept, or set allow_vanishing = true for a trial"
        )
        self.what, self.path, self.reason = what, path, reason


class KeyRefused(AgentError):
    """A key that cannot be made, or that is not there; the file is as it was."""

    exit_code = ExitCode.USAGE

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"key {name!r}: {problem}")
        self.name, self.problem = name, problem


class EngineFailed(AgentError):
    """The engine could not finish a request."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"engine: {problem}; its log has the traceback")
        self.problem = problem


class AnswerStuck(AgentError):
    """An answer that cannot go on as its JSON schema says. `code` is that of the OpenAI error envelope."""

    code = "invalid_schema"

    def __init__(self) -> None:
        super().__init__("The JSON schema cannot be used: no token can follow what the answer has")


class EngineLacks(AgentError):
    """What an engine needs of this machine, and does not find."""

    def __init__(self, engine: str, what: str, problem: str, remedy: str) -> None:
        super().__init__(f"{engine} needs {what}: {problem}; {remedy}")
        self.what, self.problem, self.remedy = what, problem, remedy


class BuildFailed(AgentError):
    """The extension was not built; the log has all that the compiler said."""

    def __init__(self, problem: str, log: Path) -> None:
        super().__init__(f"building the exllamav2 extension: {problem}; see {log}, then start again: it goes on")
        self.problem, self.log = problem, log


class GpuUnread(AgentError):
    """The driver, its library or a GPU that does not give a figure."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no GPU figures: {reason}")
        self.reason = reason


class BenchStopped(AgentError):
    """A benchmark that cannot be begun or finished. `code` is that of the error envelope."""

    def __init__(self, problem: str, code: str) -> None:
        super().__init__(f"bench: {problem}")
        self.problem, self.code = problem, code


class LedgerError(AgentError):
    """The ledger cannot vouch for its numbers."""

    exit_code = ExitCode.STORE


class LedgerUnreadable(LedgerError):
    """The ledger's file cannot be opened or read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"ledger {path}: {reason}; check the path and its rights, or restore it from a copy")
        self.path, self.reason = path, reason


class LedgerVersion(LedgerError):
    """The ledger is of a version that this mtok does not know."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(f"ledger {path}: its version {version} is newer than this mtok; upgrade mtok")
        self.path, self.version = path, version


class LedgerInUse(LedgerError):
    """Two agents on one ledger would make its totals a lie."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"ledger {path}: another agent holds it; stop that one, or name another ledger")
        self.path = path


class LedgerMismatch(LedgerError):
    """Totals that are not the sum of the entries: nobody may bill by them."""

    def __init__(self, path: Path, label: str, what: str, totals: object, sums: object) -> None:
        super().__init__(
            f"ledger {path}: label {label!r} has totals {totals} but its {what} sum to {sums}; "
            "keep the file for inspection and name a new ledger"
        )
        self.path, self.label = path, label


class LedgerUnwritable(LedgerError):
    """A commit failed: what it held is kept in memory and tried again."""

    def __init__(self, path: Path, reason: str, remedy: str = "check the free space and the file's rights") -> None:
        super().__init__(f"ledger {path}: {reason}; {remedy}")
        self.path, self.reason = path, reason

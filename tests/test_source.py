"""What no line of the product may do: turn a check off, compare a secret in a time that tells, run a text."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "a certificate is not looked at": r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified",
    "an unknown host key is taken": r"AutoAddPolicy|WarningPolicy|set_missing_host_key_policy",
    "a password goes to a host": r"auth_password|auth_interactive|auth_none",
    "a key follows a redirect": r"follow_redirects\s*=\s*True",
    "text is run": r"shell\s*=\s*True|os\.system\(|\beval\(|(?<![.\w])exec\(|pickle|yaml\.load\(|marshal",
    "a secret is compared with ==": r"(secret|sha256|api_key|password|token)\)?\s*[=!]=\s*(?!None)\w",
    "every file is open to everybody": r"os\.umask\(0|0o666|0o777\)",
}
ALLOWED = {
    ("agent/bench_command.py", "a certificate is not looked at"),  # it is the very one: no other is trusted there
    ("console/hosts/install.py", "a secret is compared with =="),  # of files there: change or not, asked by us
    ("console/read_ahead.py", "text is run"),  # what this very program wrote into a pipe that nobody else has
    ("agent/keys.py", "every file is open to everybody"),  # a mask, of the mode that a file has
}


def sources() -> list[Path]:
    return [path for folder in ("agent", "console", "store") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_line_does_what_is_forbidden(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources()
        if (str(path.relative_to(ROOT)), what) not in ALLOWED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line.partition("#")[0])
    ]
    assert found == []


def test_secrets_are_compared_in_a_time_that_tells_nothing() -> None:
    assert "hmac.compare_digest(" in (ROOT / "agent/control.py").read_text(encoding="utf-8")
    # a client's key is looked up by its hash: how far a guess agrees with one says nothing of the key
    assert "_labels.get(hashlib.sha256(key.encode()).hexdigest())" in (ROOT / "agent/keys.py").read_text("utf-8")

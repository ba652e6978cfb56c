"""`make audit`: known weaknesses of the pinned dependencies, by pip-audit. Exit code 1 where there is one.

Where the advisories cannot be had (no network, or an index that does not serve them) it says *not run*, with the
reason and exit code 0: nothing has been found out, and nothing else of a release waits for the network.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOL = ROOT / ".venv-audit"
VERSION = "2.10.1"
_INSTALL_S, _AUDIT_S = 300, 300


def verdict(report: str, said: str) -> tuple[int, str]:
    """Exit code and lines for what pip-audit has printed on stdout and stderr."""
    try:
        found = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 0, f"audit: not run: {(said.strip().splitlines() or ['pip-audit said nothing'])[-1]}"
    weak = [
        f"{one['name']} {one['version']}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'none'}"
        for one in found
        for each in one.get("vulns", ())
    ]
    skipped = [one for one in found if "skip_reason" in one]
    if weak:
        return 1, "\n".join([*weak, f"audit: {len(weak)} known weaknesses in {len(found)} packages"])
    if len(skipped) == len(found):
        return 0, f"audit: not run: the index has no advisories for any of {len(found)} packages"
    rest = f"; not known there: {', '.join(one['name'] for one in skipped)}" if skipped else ""
    return 0, f"audit: no known weakness in {len(found) - len(skipped)} packages{rest}"


def main() -> int:
    """Make pip-audit's own environment, and ask."""
    python = str(TOOL / "bin" / "python")
    command = [
        python,
        "-m",
        "pip_audit",
        "--requirement",
        str(ROOT / "constraints.txt"),
        "--no-deps",
        "--disable-pip",
    ]
    try:
        if not Path(python).exists():
            subprocess.run([sys.executable, "-m", "venv", TOOL], check=True, timeout=_INSTALL_S)
        install = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            f"pip-audit=={VERSION}",
        ]
        subprocess.run(install, check=True, timeout=_INSTALL_S)
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", "20"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_AUDIT_S, check=False)
    except (subprocess.SubprocessError, OSError) as error:
        code, lines = 0, f"audit: not run: {error}"
    else:
        code, lines = verdict(done.stdout, done.stderr)
    print(lines)
    return code


if __name__ == "__main__":
    sys.exit(main())

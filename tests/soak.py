"""`make soak`: in every round other examples for the property tests and other random dialogues, for so many minutes.

What fails is written to artefacts/soak, with the smallest example that hypothesis found, and left out of the rounds
that follow. A round's seed is in the file's name: the command in its first line runs the round again.

    python -m tests.soak --minutes 10 [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

# Every file whose tests draw examples; a test holds it complete.
FILES = (
    "tests/property",
    "tests/unit/http/test_http_forwarded.py",
    "tests/unit/logs",
    "tests/unit/test_redaction.py",
    "tests/e2e/test_e2e_smuggling.py",
    "tests/e2e/test_e2e_random_dialogues.py",
)
ONLY = "not corpus and not after_a_pause and not smuggled_is_seen"  # which have no chance in them
FINDINGS = Path("artefacts/soak")
# For a round to end in good order after Ctrl-C: its servers have to stop.
END_SECONDS = 60.0
_FAILED = re.compile(r"(?m)^(?:FAILED|ERROR) (\S+::\S.*?)(?: - .*)?$")


def command(seed: int, known: list[str], *more: str) -> list[str]:
    """A round without the tests that are known to fail."""
    left_out = (f"--deselect={test}" for test in known)
    options = ("-q", "-p", "no:cacheprovider", "--hypothesis-profile=soak", f"--hypothesis-seed={seed}", "-k", ONLY)
    return ["env", f"SOAK_SEEDS={seed}", sys.executable, "-m", "pytest", *options, *left_out, *more, *FILES]


def run_round(arguments: list[str], seconds: float) -> str | None:
    """What pytest says, or None where the time was over before."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_SECONDS)
        return None


def soak(minutes: float, seed: int, *more: str) -> list[str]:
    """Rounds until the time is over; the tests that failed."""
    end, known, rounds = monotonic() + 60 * minutes, list[str](), 0
    while (left := end - monotonic()) > 0:
        arguments = command(seed, known, *more)
        output = run_round(arguments, left)
        if output is None:
            break
        rounds += 1
        failed = _FAILED.findall(output)
        print(f"round {rounds}, seed {seed}: {output.rstrip().splitlines()[-1]}", flush=True)
        if failed:
            FINDINGS.mkdir(parents=True, exist_ok=True)
            (FINDINGS / f"seed-{seed}.txt").write_text(f"{shlex.join(arguments)}\n\n{output}")
            known += failed
        elif " passed" not in output:
            raise SystemExit(output)
        seed += 1
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the first round")
    asked, more = parser.parse_known_args()
    failed = soak(asked.minutes, asked.seed, *more)
    for test in failed:
        print(f"FAILED {test}")
    print(f"{len(failed)} tests failed; see {FINDINGS}" if failed else "nothing found")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

"""Measures the lines and branches that the simulation alone runs: `python -m tests.simulation.coverage SEEDS`."""

from __future__ import annotations

import sys

from coverage import Coverage

MEASURED = ("engine/partition.py", "engine/host.py", "deliverability/egress.py")


def main(seeds: int) -> None:
    """Run seeds under the measure; print a line for each module: name, per cent, branches and lines missed."""
    coverage = Coverage(branch=True, include=[f"*/{name}" for name in MEASURED], data_file=None)
    coverage.start()
    from tests.simulation.run import run_many

    run_many(range(seeds))
    coverage.stop()
    for name in MEASURED:
        analysis = coverage._analyze(name)
        numbers = analysis.numbers
        branches = 100 * numbers.n_executed_branches // max(numbers.n_branches, 1)
        missed = ",".join(str(line) for line in sorted(analysis.missing))
        print(
            f"{name} {branches} % of {numbers.n_branches} branches, "
            f"{numbers.n_executed} of {numbers.n_statements} lines; missed lines: {missed or 'none'}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Run many random programs: ``cd tests && python -m random_programs --count 10000 --state DIR``.

Every program is the seed's, so a run can be stopped and taken up again: what was examined stands
in DIR/records.jsonl, one line a program; failures with their smallest programs in
DIR/failures.txt; the summary is printed at the end (or alone, with --summary).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many programs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--state", type=Path, required=True, help="where records are kept")
    parser.add_argument("--summary", action="store_true", help="only print the summary so far")
    parser.add_argument("--again", action="store_true", help="first examine the failures again")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from tqdm import tqdm

    from random_programs.record import read, summary
    from random_programs.sweep import run

    options.state.mkdir(parents=True, exist_ok=True)
    path = options.state / "records.jsonl"
    done = {r["seed"] for r in read(path) if not (options.again and "failure" in r)}
    wanted = range(options.first, options.first + options.count)
    seeds = [] if options.summary else [seed for seed in wanted if seed not in done]
    failures = 0
    with (
        path.open("a") as records,
        (options.state / "failures.txt").open("a") as reports,
        tqdm(total=len(wanted), initial=len(wanted) - len(seeds), smoothing=0.02) as bar,
    ):
        for chunk in run(seeds, options.processes):
            for found in chunk:
                records.write(json.dumps(found, ensure_ascii=False) + "\n")
                if failure := found.get("failure"):
                    failures += 1
                    reports.write("\n".join([f"seed {found['seed']}", *failure.values(), "\n"]))
            records.flush()
            reports.flush()
            bar.update(len(chunk))
            bar.set_postfix(failures=failures)
    print(summary(read(path)))


if __name__ == "__main__":
    main()

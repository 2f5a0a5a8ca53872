"""What one examination leaves behind, as JSON, and the summary of many."""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from lrpjax.primitives import _TABLE, Kind
from random_programs import properties
from random_programs.draw import from_seed
from random_programs.program import Program, Step
from random_programs.properties import ALWAYS, Case, examine
from random_programs.shrink import shrink

#: Every how many programs a costly property is checked.
EVERY = {
    properties.the_gradient_of_the_value_is_the_functions_own: 5,
    properties.relevance_of_a_map_is_the_map_of_relevance: 10,
    properties.compiled_is_interpreted: 20,
    properties.jit_is_eager: 40,
}


def properties_of(seed: int) -> tuple:
    """The properties that are checked of a seed's program."""
    return (*ALWAYS, *(p for i, (p, n) in enumerate(EVERY.items()) if seed % n == i))


def record(seed: int) -> dict[str, Any]:
    """Draw, examine and describe the program of a seed."""
    program, start, worked = from_seed(seed), time.perf_counter(), time.process_time()
    checks = properties_of(seed)
    found: dict[str, Any] = {"seed": seed, "dtype": program.dtype}
    found["operations"] = Counter(step.operation for step in _steps(program.steps))
    found["wrappers"] = Counter(step.wrapper for step in _steps(program.steps))
    try:
        case = examine(program, checks)
        found.update(_describe(case), properties=[check.__name__ for check in checks])
    except Exception as error:
        found["failure"] = _failure(program, checks, error)
    found["seconds"] = time.perf_counter() - start
    found["work"] = time.process_time() - worked
    return found


def _steps(steps: tuple[Step, ...]) -> list[Step]:
    return [inner for step in steps for inner in (step, *_steps(step.body))]


def _describe(case: Case) -> dict[str, Any]:
    """The units, rules and primitives of a program that passed."""
    if "refused" in case.notes:
        return {"notes": case.notes}
    units = case.plan.units
    return {
        "notes": case.notes,
        "units": Counter(unit.kind for unit in units),
        "rules": Counter(type(unit.rule).__name__ for unit in units),
        "primitives": Counter(_primitives(e for unit in units for e in unit.equations)),
        "silent": not any("unbounded" in unit.reason for unit in units),
    }


def _primitives(equations: Any) -> list[str]:
    names = []
    for equation in equations:
        names.append(equation.name)
        body = getattr(equation, "body", None)
        names += _primitives(body.equations) if body is not None else []
    return names


def _failure(program: Program, checks: tuple, error: Exception) -> dict[str, str]:
    """What broke, and the smallest program found in which the same thing does."""
    kind, where = type(error), _where(error)

    def fails(candidate: Program) -> bool:
        try:
            examine(candidate, [check for check in checks if check.__name__ == where] or checks)
        except Exception as other:
            return type(other) is kind and _where(other) == where
        return False

    return {
        "property": where,
        "error": f"{kind.__name__}: {error}"[:2000],
        "program": repr(program),
        "smallest": repr(shrink(program, fails)) if _is_new(where, kind) else "",
        "traceback": "".join(traceback.format_exception(error))[-3000:],
    }


_made_small: Counter[tuple[str, str]] = Counter()


def _is_new(where: str, kind: type) -> bool:
    """Whether so few have failed like this, in this process, that another is worth its time."""
    _made_small[where, kind.__name__] += 1
    return _made_small[where, kind.__name__] <= 2


def _where(error: Exception) -> str:
    """The property that was being checked, or the part of the examination."""
    known = {check.__name__ for check in (*ALWAYS, *EVERY)}
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    return next((name for name in names if name in known), "build or plan")


# ---------------------------------------------------------------- many


def read(path: Path) -> list[dict[str, Any]]:
    """The records written so far; of a seed that was examined again, the latest."""
    lines = path.read_text().splitlines() if path.exists() else []
    return list({r["seed"]: r for r in map(json.loads, lines)}.values())


def summary(records: list[dict[str, Any]]) -> str:
    """What many examinations found, for a person to read."""
    passed = [r for r in records if "units" in r]
    failed = [r for r in records if "failure" in r]
    seconds, work = (sum(r.get(key, 0.0) for r in records) for key in ("seconds", "work"))
    lines = [
        f"{len(records)} programs, {len(failed)} failures, {seconds / 60:.0f} min of one process; "
        f"{work / max(1, len(records)):.2f} s of computing each",
        f"refused, as documented: {_count(records, 'refused')}",
        f"outputs the same bits as the function's own: {_count(passed, 'same bits')} of "
        f"{len(passed)}",
        f"plans that say nothing of unbounded: {sum(r['silent'] for r in passed)}; largest |R/x| "
        f"there over the usual: {_largest(passed, 'coefficient'):.3g}",
        f"comparisons left to rounding: {_count(passed, 'left to rounding')}",
    ]
    for dtype in sorted({r["dtype"] for r in passed}):
        ours = [r for r in passed if r["dtype"] == dtype]
        plain = [r for r in ours if not r["notes"].get("amplified")]
        worst = _largest(plain, "ledger error")
        lines.append(
            f"{dtype}: {len(ours)} programs, worst ledger error {worst:.2g} of a unit's Σ|R′|; "
            f"{len(ours) - len(plain)} of them amplify relevance and close to the rounding of that"
        )
    lines += [
        "properties: " + _table(Counter(name for r in passed for name in r["properties"])),
        "units: " + _table(_sum(passed, "units")),
        "rules: " + _table(_sum(passed, "rules")),
        "operations: " + _table(_sum(records, "operations")),
        "wrappers: " + _table(_sum(records, "wrappers")),
        "primitives: " + _table(_sum(passed, "primitives")),
        "primitives of the table that no unit had: " + ", ".join(_missing(passed)),
    ]
    lines += [f"seed {r['seed']}: {r['failure']['property']}: {_first(r)}" for r in failed]
    return "\n".join(lines)


def _first(found: dict[str, Any]) -> str:
    return found["failure"]["error"].splitlines()[0][:200]


def _count(records: list, note: str) -> int:
    return sum(bool(r.get("notes", {}).get(note)) for r in records)


def _largest(records: list, note: str) -> float:
    return max((r["notes"].get(note, 0.0) for r in records), default=0.0)


def _sum(records: list, key: str) -> Counter:
    return sum((Counter(r.get(key, {})) for r in records), Counter())


def _table(counts: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _missing(passed: list) -> list[str]:
    seen = set(_sum(passed, "primitives"))
    calls = (Kind.INLINE, Kind.CUSTOM, Kind.REMAT)  # counted as wrappers
    return [
        n
        for kind, names in _TABLE.items()
        if kind not in calls
        for n in names.split()
        if n not in seen
    ]

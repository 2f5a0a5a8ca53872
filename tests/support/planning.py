"""Plans as plain data, for tests that say what a function's units are."""

import lrpjax


def units(f, *args, composite=None, **options):
    """The units of a plan that are more than routes, in the order of the program."""
    planned = lrpjax.plan(f, composite, *args, **options)
    return [unit for unit in planned.units if unit.kind != "route"]


def kinds(f, *args, **options):
    """Their kinds."""
    return [unit.kind for unit in units(f, *args, **options)]


def layers(f, *args, **options):
    """Their names."""
    return [unit.layer for unit in units(f, *args, **options)]


def folded(unit):
    """What a unit folded in, as one text."""
    return "; ".join(unit.folded)

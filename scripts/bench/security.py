"""Measures what TLS and a token cost: the same program in alternating pairs, with both and with neither, so that both meet the
machine's mood."""

import contextlib
from pathlib import Path

from against import FIGURES, PAIRS, asked_steps, number, summarise
from context import Context
from engine import Engine
from plan import CASES, servers_of
from process import Credentials, Unbalanced, secured

DEFAULT_CASES = ["stream-columns", "unary"]


def measure(name, step, context, credentials, say):
    """One sample, or None where the books do not balance."""
    try:
        with secured(credentials) if credentials else contextlib.nullcontext():
            return CASES[name].steps(context)[step]()
    except Unbalanced as reason:
        say(f"  NO FIGURE, {reason}")
        return None


def measure_pairs(name, step, context, credentials, pairs, say):
    found = []
    for count in range(1, pairs + 1):
        pair = {}
        for with_both in (False, True) if count % 2 else (True, False):
            pair[with_both] = measure(name, step, context, credentials if with_both else None, say)
        found.append({"old": pair[False], "new": pair[True]})
        if all(pair.values()):
            rates = pair[True]["rows_per_s"], pair[False]["rows_per_s"]
            say(f"  pair {count}: {rates[0]:,.0f}/s with TLS and a token, {rates[1]:,.0f}/s without: {rates[0] / rates[1]:.3f}")
    return found


def show(engine, step, figures, pairs, say):
    say(f"{engine.name} {engine.version}: {step}, with TLS and a token")
    for name, found in figures.items():
        ratio = found["ratio"]
        print(f"    {FIGURES[name]:30} {number(found['new']):>9}, without {number(found['old']):>9}: ratio "
              f"{ratio['median']:.4f} ({ratio['quartile_low']:.4f} to {ratio['quartile_high']:.4f} in the middle half, "
              f"{ratio['min']:.4f} to {ratio['max']:.4f} in all), {ratio['pairs']} of {pairs} pairs", flush=True)


def run(arguments, rows, folder, say):
    steps = asked_steps(arguments.case or DEFAULT_CASES)
    pairs = arguments.rounds or PAIRS["quick" if arguments.quick else "full"]
    credentials = Credentials(Path(folder) / "credentials")
    for engine_name in arguments.engine or ["mysql", "mariadb"]:
        for server, names in servers_of(steps, engine_name):
            with Engine(engine_name, Path(folder) / engine_name, server) as engine:
                for name in names:
                    context = Context(engine, rows, Path(folder) / "service", arguments.quick)
                    for step in steps[name]:
                        samples = measure_pairs(name, step, context, credentials, pairs, say)
                        figures = summarise(samples)
                        if not figures:
                            raise SystemExit(f"{step} has no pair whose books balance")
                        show(engine, step, figures, pairs, say)

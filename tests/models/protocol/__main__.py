"""Explores and prints what was found, as a Markdown table: `python -m tests.models.protocol [small | all [MOST]]`."""

from __future__ import annotations

import sys
from functools import partial

from .explorer import Search
from .variants import VARIANTS
from .worlds import all_worlds, small_worlds

say = partial(print, flush=True)


def main(which: str = "small", most: str = "1000000") -> int:
    """Returns how many worlds are broken."""
    worlds = small_worlds() if which == "small" else all_worlds()
    n_broken = n_states = n_moves = n_whole = n_worlds = 0
    seconds = 0.0
    say("| world | states | moves | seen |\n|---|---|---|---|")
    for name, scene in worlds:
        result = Search(scene, most=int(most)).run()
        seen = "BROKEN" if result.broken else "all" if result.is_whole else "the nearest"
        say(f"| {name} | {result.states:,} | {result.moves:,} | {seen} |")
        if result.broken:
            say(result)
        n_broken += bool(result.broken)
        n_whole += result.is_whole
        n_worlds, n_states, n_moves = n_worlds + 1, n_states + result.states, n_moves + result.moves
        seconds += result.seconds
    say(
        f"\n{n_worlds} worlds, {n_whole} of them wholly: {n_states:,} states, {n_moves:,} moves, {seconds:.0f} s of "
        f"CPU; {n_broken} broken.\n\n| left out | shows in | as | moves |\n|---|---|---|---|"
    )
    for variant in VARIANTS:
        result = Search(variant.scene(), most=200_000).run()
        say(f"| {variant} | {variant.programs} | {result.broken or 'NOT CAUGHT'} | {len(result.trace)} |")
        n_broken += not result.broken
    return n_broken


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

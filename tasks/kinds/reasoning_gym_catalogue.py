"""Known faults of reasoning-gym's datasets, checked on version 0.1.25 by running each of them."""

from __future__ import annotations

_OF_THE_PROCESS = (
    "its problems depend on {}, so another process, or a resumed run, would see others for the same seed"
)
_HASH = _OF_THE_PROCESS.format("Python's hash seed")
_RANDOM = _OF_THE_PROCESS.format("the global random generator")

BROKEN: dict[str, str] = {
    "codeio": _RANDOM,
    "composite": "it mixes datasets, whose scores and domains must stay apart; name one dataset",
    "game_of_life_halting": "its scorer accepts every answer that is not empty",
    "intermediate_integration": _HASH,
    "isomorphic_strings": _HASH,
    "knight_swap": _HASH,
    "list_functions": _RANDOM,
    "polynomial_multiplication": _HASH,
    "ransom_note": _HASH,
    "word_ladder": _HASH,
}
"""Datasets that are refused, with the reason."""

WITH_EXPRESSION = ("basic_arithmetic", "chain_sum", "decimal_chain_sum", "products")
"""Datasets whose metadata has the bare sum that the question asks for."""

VERIFIER_ONLY = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")
"""Datasets that come without an answer."""

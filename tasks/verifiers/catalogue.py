"""The verifier for the answers of each dataset; a dataset that is not named here cannot be used.

The names are those of reasoning-gym 0.1.25, each read in its source.  A dataset of a later version is
refused until somebody has read the form of its answers and named a verifier for it.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.verifiers import boards, formulas, grids, lists, moves, numbers, text, times
from tasks.verifiers.grammars import Facts

Verifier = Callable[[str, str, Facts], bool]
"""Whether an answer is right: the answer, the dataset's own answer ('' without one), the metadata."""

_SAME_ROWS = (
    *("ab", "acre", "aiw", "arc_1d", "arc_agi", "base_conversion", "basic_arithmetic", "bf"),
    *("binary_alternation", "binary_matrix", "caesar_cipher", "circuit_logic", "count_bits", "count_primes"),
    *("course_schedule", "emoji_mystery", "futoshiki", "gcd", "largest_island", "lcm", "leg_counting"),
    *("letter_counting", "mahjong_puzzle", "manipulate_matrix", "maze", "mini_sudoku", "modulo_grid"),
    *("number_filtering", "number_sequence", "path_star", "rearc", "rotate_matrix", "rotten_oranges"),
    *("self_reference", "simple_equations", "simple_geometry", "spiral_matrix", "string_insertion"),
    *("string_manipulation", "string_splitting", "string_synthesis", "sudoku", "survo", "syllogism"),
    *("word_sequence_reversal",),
)
_SAME_WORDS_IN_ANY_CASE = (
    *("color_cube_rotation", "dice", "family_relationships", "letter_jumble", "sentence_reordering"),
    *("spell_backward", "tsumego", "zebra_puzzles"),
)

VERIFIERS: dict[str, Verifier] = {
    **dict.fromkeys(_SAME_ROWS, text.same_rows),
    **dict.fromkeys(_SAME_WORDS_IN_ANY_CASE, text.same_words_in_any_case),
    "advanced_geometry": numbers.geometric_measure,
    "bitwise_arithmetic": numbers.same_hexadecimal,
    "boxnet": boards.matched_boxes,
    "calendar_arithmetic": numbers.same_day_or_count,
    "chain_sum": numbers.same_grouped_decimal,
    "coin_flip": numbers.near_probability,
    "complex_arithmetic": numbers.same_complex_number,
    "countdown": formulas.sum_to_target,
    "cryptarithm": lists.digits_for_letters,
    "decimal_arithmetic": numbers.near_decimal,
    "decimal_chain_sum": numbers.same_decimal,
    "figlet_font": text.same_letters_in_any_case,
    "fraction_simplification": numbers.simplified_fraction,
    "game_of_life": lists.same_cells,
    "graph_color": lists.proper_colouring,
    "group_anagrams": lists.same_groups,
    "gsm_symbolic": numbers.same_amount,
    "jugs": moves.poured_jugs,
    "kakurasu": grids.filled_kakurasu,
    "knights_knaves": text.same_roles,
    "n_queens": grids.placed_queens,
    "needle_haystack": text.same_letters_in_any_case,
    "number_format": numbers.nearest_candidate,
    "number_sorting": lists.sorted_numbers,
    "palindrome_generation": text.palindrome_of_the_letters,
    "palindrome_partitioning": lists.same_partitions,
    "polynomial_equations": numbers.all_roots,
    "pool_matrix": grids.pooled_matrix,
    "power_function": numbers.three_significant_digits,
    "prime_factorization": numbers.prime_factors,
    "products": numbers.same_grouped_decimal,
    "propositional_logic": formulas.valid_conclusion,
    "puzzle24": formulas.sum_to_24,
    "quantum_lock": moves.opened_lock,
    "rectangle_count": numbers.same_integer,
    "rubiks_cube": boards.solved_cube,
    "rush_hour": boards.driven_cars,
    "shortest_path": grids.shortest_way,
    "simple_integration": formulas.antiderivative,
    "sokoban": moves.pushed_boxes,
    "time_intervals": times.same_duration,
    "tower_of_hanoi": moves.moved_tower,
    "word_sorting": text.same_list_of_words,
}
"""The verifier of each dataset that a task can name."""

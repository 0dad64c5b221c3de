"""What each verifier takes and what it does not, by hand; beside the table of every dataset."""

import json

import pytest

from tasks.verifiers import boards, formulas, grids, lists, moves, numbers, text, times
from tasks.verifiers.grammars import integer, json_value, number, ratio, rows

RIGHT_AND_WRONG = {
    "same rows": (
        text.same_rows,
        "1 2\n3 4",
        {},
        ["1 2\n3 4", " 1  2 \r\n\n3\t4\n"],
        ["1 2 3 4", "1 2", "1 2\n3 4\n5", "[1 2]\n[3 4]", "1,2\n3,4", ""],
    ),
    "any case": (
        text.same_words_in_any_case,
        "Peace on Earth",
        {},
        ["peace on earth", "PEACE\nON EARTH"],
        ["peace on earth and more", "peaceonearth", "on earth peace", ""],
    ),
    "spelled": (text.same_letters_in_any_case, "FOUTER", {}, ["fouter", "F O U T E R"], ["FOUTERS", "FOUTE", ""]),
    "sorted words": (
        text.same_list_of_words,
        "a, b, c",
        {"sorted_words": ["a", "b", "c"]},
        ["a, b, c", "a,b,\nc"],
        ["a, b, c, d", "a, b, c,", "a b c", "a, c, b", ""],
    ),
    "palindromes": (
        text.palindrome_of_the_letters,
        "abba",
        {"letters": ["a", "b", "b", "a"]},
        ["abba", "BAAB"],
        ["abab", "aba", "", "a", "abba abba"],
    ),
    "roles": (
        text.same_roles,
        "Ada is a knight, and Bob is a knave.",
        {},
        ["Ada is a knight, and Bob is a knave", "Bob is a knave and Ada is a knight", "ada knight bob knave"],
        [
            "It is not so that Ada is a knight, and Bob is a knave",  # the library reads what it knows of it
            "Ada is a knight, and Bob is a knave, Ada is a knave",
            "Ada is a knight",
            "knight knave",
            "",
        ],
    ),
    "thousands": (
        numbers.same_grouped_decimal,
        "1234",
        {},
        ["1234", "1,234", "+1234", "01234", "1234.0", "1234.", " 1.234e3 "],
        ["1,2,3,4", "12,34", "1234,", ",1234", "1 234", "1_234", "12341", "0x4d2", "nan", "1234 1234"],
    ),
    "amounts": (
        numbers.same_amount,
        "12",
        {},
        ["12", "12.0", "$12", " £ 12 "],
        ["not 12", "12!", "12,12", "12 thousand", "12%", "-12", "12 or 13", "12/1", ""],
    ),
    "hexadecimal": (
        numbers.same_hexadecimal,
        "-0x1f",
        {},
        ["-0x1f", "-0X1F", "-31", "-0x001f"],
        ["0x1f", "31", "-1f", "-0x1f.0", "-0x1g", "--0x1f", "nan", ""],
    ),
    "days": (numbers.same_day_or_count, "Friday", {}, ["Friday", " Friday\n"], ["friday", "FRI", "Fridays", ""]),
    "counts of days": (numbers.same_day_or_count, "-1", {}, ["-1", "-01"], ["0", "7", "1", "-1.0", "nan", ""]),
    "yes or no": (numbers.same_day_or_count, "Yes", {}, ["yes", "YES"], ["y", "No", "Yes and no", "1", "True"]),
    "to the last place": (
        numbers.near_decimal,
        "-12.582507840",
        {"difficulty": {"decimal_places": (3, 3)}},
        ["-12.582507840", "-12.5825", "-12.583", "-1.2582507840e1"],
        ["-12.58", "12.582507840", "nan", "inf", "-12.582.507", ""],
    ),
    "a small value": (
        numbers.near_decimal,
        "0.0004",
        {"difficulty": {"decimal_places": (3, 3)}},
        ["0.0004", "4e-4"],
        ["0", "0.001", "-0.0004", "0.0005"],
    ),
    "three digits": (
        numbers.three_significant_digits,
        "9.360000138304076e-18",
        {},
        ["9.36e-18", "9.3601e-18", "9.36E-18", "0.00000000000000000936"],
        ["9.37e-18", "0", "9.36", "nan", "1e-999", "1e-9999999999", ""],
    ),
    "candidates": (
        numbers.nearest_candidate,
        "100.5",
        {"solution": 100.5, "candidates": [100.5, 100.495, 99.0]},
        ["100.5", "100.501", "1.005e2"],
        ["100.495", "100.496", "100.6", "99", "nan", "inf", ""],
    ),
    "complex": (
        numbers.same_complex_number,
        "3.0 - 2.0i",
        {"result": (3, -2)},
        ["3.0 - 2.0i", "3-2i", "(3 - 2j)", "+3-2.00I"],
        ["nan", "nan+nanj", "inf", "3+2i", "3", "-2i", "-2i+3", "3-2", "3 -- 2i", "3-2i junk", ""],
    ),
    "imaginary": (numbers.same_complex_number, "-1.00i", {"result": (0, -1)}, ["-i", "-1i", "0-1i"], ["i", "-1", "-", "0"]),
    "real": (numbers.same_complex_number, "12.00", {"result": (12, 0)}, ["12", "12+0i", "(12)"], ["12i", "1+2i", "()", "((", "."]),
    "fractions": (
        numbers.simplified_fraction,
        "3/4",
        {"simplified_numerator": 3, "simplified_denominator": 4},
        ["3/4", "$3/4$", r"$\frac{3}{4}$", r"\dfrac{3}{4}", " 3 / 4 "],
        ["6/8", "0.75", "3/4/1", r"\frac{3}{4} junk", "3", "-3/4", "3/-4", "nan/4", ""],
    ),
    "factors": (
        numbers.prime_factors,
        "2 × 2 × 3",
        {"factors": [2, 2, 3]},
        ["2 × 2 × 3", "3×2×2"],
        ["12", "4 × 3", "2 × 3", "2 * 2 * 3", "2 × 2 × 3 × 1", "2 × 2 × 3 ×", "×", "1", ""],
    ),
    "roots": (
        numbers.all_roots,
        "-0.5314, 0.0, 0.5314",
        {},
        ["-0.5314, 0.0, 0.5314", "0.5314,0,-0.5314", "-0.5315, 0, 0.5313"],
        ["-0.5314, 0.5314", "0.0", "-0.53, 0.0, 0.53", "-0.5314, 0.0, 0.5314, nan", "x = 0", "", '""'],
    ),
    "no roots": (numbers.all_roots, "", {}, ["", '""', " "], ["none", "nan", "0", "no real roots", "[]"]),
    "angles": (
        numbers.geometric_measure,
        "16.91°",
        {"task_type": "angle_measure"},
        ["16.91°", "16.91", "16.909"],
        ["16.92", "17", "nan°", "°", ""],
    ),
    "points": (
        numbers.geometric_measure,
        "(4.051, -5.487)",
        {"task_type": "orthocenter", "ortho": ("158/39", "-214/39")},
        ["(4.051, -5.487)", "4.051,-5.487"],
        ["(4.051, -5.487, 0)", "(4.051)", "(4.05, -5.49)", "(nan, nan)", "(,)", ""],
    ),
    "radii": (numbers.geometric_measure, "2.425", {"task_type": "incircle"}, ["2.425"], ["2.4250", "2.43", "nan", ""]),
    "dates": (times.same_duration, "5 days", {"task_type": "date"}, ["5 days", "5", "5 DAYS"], ["4 days", "5 hours", "nan", "5.0", ""]),
    "clocks": (
        times.same_duration,
        "01:45:29.840",
        {"task_type": "time_ms"},
        ["01:45:29.840", "1:45:29.84"],
        ["01:45:29", "01:45:29.841", "6329.84", "01:45", "nan:00", ""],
    ),
    "days and clocks": (
        times.same_duration,
        "67 days, 01:04:00",
        {"task_type": "datetime"},
        ["67 days, 01:04:00", "67 days, 1:04"],
        ["67 days", "66 days, 01:04:00", "67 days, 01:05:00", "01:04:00", ""],
    ),
    "sorted numbers": (
        lists.sorted_numbers,
        "['-91.9', '17.0']",
        {"sorted_numbers": ["-91.9", "17.0"]},
        ["['-91.9', '17.0']", '["-91.90", "17"]', "[-91.9, 17.0]"],
        [
            "[NaN, NaN]",  # equals nothing, so nothing is out of order: the full score of the library
            "['-91.0', '17.5']",  # the library is content with a distance of 1
            *("['17.0', '-91.9']", "[-91.9]", "[]", "{}", "-91.9, 17.0", "[[-91.9], 17]", "[null, 17]", ""),
        ],
    ),
    "groups": (
        lists.same_groups,
        "",
        {"solution": [["ai", "ia"], ["b"]]},
        ['[["b"], ["ia", "ai"]]'],
        ['[["b"]]', '[["ai", "ia"], ["b"], []]', '["ai", "ia", "b"]', "[]", "[[1]]", "{}", ""],
    ),
    "partitions": (
        lists.same_partitions,
        "",
        {"solution": [["a", "a"], ["aa"]]},
        ['[["aa"], ["a", "a"]]'],
        ['[["aa"]]', "[]", '[["a"], ["aa"]]', '{"a": 1}', "[[null]]", ""],
    ),
    "cells": (
        lists.same_cells,
        "[[0,1],[1,0]]",
        {},
        ["[[0,1],[1,0]]", "[[0, 1],\n [1, 0]]"],
        ["[[0,1],[1,0],[0,0]]", "[[0,1,1],[1,0]]", "[[false,true],[true,false]]", "[[0.0,1],[1,0]]", "[[0,1]]", "[]", ""],
    ),
    "colourings": (
        lists.proper_colouring,
        "",
        {"puzzle": {"vertices": [0, 1, 2], "edges": [(0, 1)], "color_options": [1, 2]}},
        ['{"0": 1, "1": 2, "2": 1}'],
        ['{"0": 1, "1": 1, "2": 1}', '{"0": 1, "1": 2}', '{"0": true, "1": 2, "2": 1}', '{"0": 3, "1": 2, "2": 1}', "{}", "[1, 2, 1]", ""],
    ),
    "cryptarithms": (
        lists.digits_for_letters,
        "",
        {"words_letters": ["AB", "B"], "result_letters": "CD", "allow_leading_zero": False},
        ["A=1,B=5,C=2,D=0", " D = 0, C=2 ,B=5,A=1"],
        ["A=1,B=5,C=2", "A=1,B=5,C=2,D=1", "A=1,B=5,C=2,D=0,E=3", "A=0,B=0,C=0,D=0", "A=1,B=5,C=2,D=10", "A=1,A=1,B=5,C=2,D=0", "A,B", ""],
    ),
    "queens": (grids.placed_queens, "", {"valid_answers": ["Q _\n_ _", "_ Q\n_ _"]}, ["_ Q\n_ _"], ["Q Q\n_ _", "['Q _']", ""]),
    "kakurasu": (
        grids.filled_kakurasu,
        "",
        {"n_rows": 2, "n_cols": 2, "row_sums": [1, 3], "col_sums": [3, 2]},
        ["1 0\n1 1", "10\n11", "[[1, 0],\n[1, 1]]"],
        ["1 0\n1 0", "1 0 1 1", "1 0\n1 1\n0 0", "1 0\n1 x", "1 0\n1 2", ""],
    ),
    "pools": (
        grids.pooled_matrix,
        "4.5 2.33\n0 1",
        {},
        ["4.5 2.33\n0 1", "4.50 2.333\n0.0 1.0"],
        ["4.5\n2.33\n0\n1", "4.5 2.33 0 1", "4.5 2.33\n0 nan", "4.5 2.33\n0.1 1", "4 2\n0 1", ""],
    ),
    "ways": (
        grids.shortest_way,
        "right down",
        {"matrix": [["*", "O"], ["O", "#"]]},
        ["right down", "down right"],
        ["right", "down down", "right down up down", "infeasible", "RIGHT DOWN", ""],
    ),
    "no way": (grids.shortest_way, "infeasible", {"matrix": [["*", "X"], ["X", "#"]]}, ["infeasible"], ["right", "left", ""]),
    "towers": (
        moves.moved_tower,
        "",
        {"num_disks": 2, "num_pegs": 3, "start_peg": 1, "target_peg": 3, "solution_length": 3},
        ["Move disk 1 from Peg 1 to Peg 2\nMove disk 2 from Peg 1 to Peg 3\nMove disk 1 from Peg 2 to Peg 3"],
        [
            "Move disk 1 from Peg 1 to Peg 3",
            "Move disk 2 from Peg 1 to Peg 3\nMove disk 1 from Peg 1 to Peg 3",
            "Move disk 1 from Peg 1 to Peg 3\nMove disk 2 from Peg 1 to Peg 3",
            "Move disk 1 from Peg 1 to Peg 9",
            "Move disk 1 from Peg 0 to Peg 3",
            "",
        ],
    ),
    "jugs": (
        moves.poured_jugs,
        "",
        {"puzzle": {"jug_capacities": [3, 5, 8], "target": 2}},
        ['["fill B", "pour B->A"]', '["fill B","pour B -> A","empty A"]'],
        ['["fill B"]', "[]", '["fill Z"]', '["pour B->Z"]', '["drink A"]', '["fill"]', "[1]", '"fill B"', ""],
    ),
    "sokoban": (
        moves.pushed_boxes,
        "",
        {"gamestr": "+ + + + +\n+ * @ X +\n+ + + + +\n"},
        ["R", " R\n", "LRR"],
        ["", "L", "r", "R!", "right", "RRRRx"],
    ),
    "locks": (
        moves.opened_lock,
        "A → B",
        {
            "initial_value": 0,
            "initial_state": "red",
            "target_value": 4,
            "buttons": [
                {"name": "A", "type": "add", "value": 2, "active_state": "any"},
                {"name": "B", "type": "multiply", "value": 2, "active_state": "green"},
                {"name": "C", "type": "subtract", "value": 1, "active_state": "red"},
            ],
        },
        ["A → B", "AB", "a, b", "A -> A", "A A"],
        ["B → A", "A → B → C", "A", "nan AB", "Alphabet", "A → B!", "", "0"],
    ),
    "cars": (
        boards.driven_cars,
        "",
        {"board_config": "ooooox" + "oooBoo" + "AAoBoo" + "oooooo" + "oooooo" + "oooooo"},
        ["B+2 A+4", "B+1 B+1, A+4", "A+1 B+3 A+3"],
        ["A+4", "B+2 A+5", "B+9 A+4", "B+2 A+9", "B-2 A+4", "C+1", "B+2A+4", "A+999999999", "a+4", ""],
    ),
    "boxes": (
        boards.matched_boxes,
        "",
        {"initial_state": {"0.5_0.5": ["box_red"], "0.5_1.5": ["target_red"], "0.5_2.5": []}},
        [
            '[{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}, {"Agent[0.5, 1.5]": "move(box_red, target_red)"}]'
        ],
        [
            '[{"Agent[0.5, 0.5]": "move(box_red, target_red)"}]',
            '[{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 2.5])"}]',
            '[{"Agent[0.5, 1.5]": "move(box_red, target_red)"}, {"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}, {"Agent[0.5, 1.5]": "move(box_red, target_red)"}]',
            *("[]", "{}", "[{}]", "[1]", '[{"Agent[9.5, 9.5]": "move(box_red, target_red)"}]', '[{"x": 1}]', ""),
        ],
    ),
    "cubes": (
        boards.solved_cube,
        "",
        {"cube_size": 3, "scramble_moves": "U R'"},
        ["R U'", "R U' F F'", "R U3", "R U U U"],
        ["U' R", "", "R", "R U' F", "R U'junk", "9R U'", "R U999999999", "sol"],
    ),
    "a big cube": (boards.solved_cube, "", {"cube_size": 4, "scramble_moves": "2R Uw"}, ["Uw' 2R'"], ["U' R'", "5R", ""]),
    "sums": (
        formulas.sum_to_target,
        "",
        {"numbers": [6, 2, 2, 1], "target": 24},
        ["6*2*2*1", "6*(2+2)/1", "-6*-2*2*1", "-(-6*2*2*1)"],
        ["24", "6*4", "6*2*2", "6*2*2*1*1", "6*2*2+1", "6**2-2*1", "6.0*2*2*1", "nan", "6*2*2*1=24", ""],
    ),
    "twenty-four": (
        formulas.sum_to_24,
        "",
        {"numbers": [1, 3, 5, 9]},
        ["1*3*5 + 9", "9 + 5*3/1"],
        ["6*2*2*1", "9*3-5+1", "9*3-5+1+0", "24", "1*3*5 + 9.5", ""],
    ),
    "antiderivatives": (
        formulas.antiderivative,
        "",
        {"variable": "X", "integrand": "6*X**2 - 2*X/3"},
        ["2*X**3 - X**2/3 + C", "C - X**2/3 + 2*X**3", "2*X**3-X**2/3", "X**2*(2*X - 1/3) + K + 7", "(6*X**3 - X**2)/3 + C"],
        ["2*X**3 + C", "2*X**3 - X**2/3 + C*X", "2*x**3 - x**2/3", "2X^3", "0", "C", "6*X**2 - 2*X/3", "nan", "diff(X)", ""],
    ),
    "antiderivatives of nothing": (
        formulas.antiderivative,
        "0 + C",
        {"variable": "x", "integrand": "0"},
        ["0 + C", "C", "K", "7", "0"],
        ["nan", "inf", "None", "True", "yes", "P", "x", "C*x", ""],
    ),
    "conclusions": (
        formulas.valid_conclusion,
        "",
        {"variables": ["P", "Q", "R"], "premises": ["P", "(P → Q)"]},
        ["P ∧ Q", "(Q ∨ R)", "¬¬Q", "R → Q", "((P ↔ Q))"],
        ["Q", "(P)", "P ∨ ¬P", "P → P", "R ∧ P", "¬Q", "P ∨ a", "P ∨ ?", "P ∨ S", "P Q", "P ∨", "", "P -> Q"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT_AND_WRONG)
def test_right_and_wrong_answers_by_hand(name):
    verify, gold, facts, right, wrong = RIGHT_AND_WRONG[name]
    before = json.dumps(facts)
    assert {answer: verify(answer, gold, facts) for answer in right} == dict.fromkeys(right, True)
    assert {answer: verify(answer, gold, facts) for answer in wrong} == dict.fromkeys(wrong, False)
    assert json.dumps(facts) == before


@pytest.mark.parametrize(
    ("numerator", "denominator", "right", "wrong"),
    [
        (7, 128, ["0.0546875", "7/128", "0.0547", "14/256", "5.46875e-2"], ["0", "0.05", "0.055", "7", "nan", "5.46875%", "7/0"]),
        (5, 16, ["0.3125", "5/16"], ["0", "0.3", "0.31", "0.312", "3", "inf"]),
        (1, 32768, ["3.0517578125e-05", "1/32768", "0.0000305"], ["0", "0.0", "0.0001", "1/10000"]),
        (32767, 32768, ["0.999969482421875", "32767/32768"], ["1", "1.0", "0.9999"]),
        (4, 4, ["1", "1.0", "4/4"], ["0.9999", "0", "1.0001", "100%"]),
    ],
)  # fmt: skip
def test_a_probability_is_no_prefix_and_not_nothing(numerator, denominator, right, wrong):
    facts = {"rational": {"numerator": numerator, "denominator": denominator}}
    gold = format(numerator / denominator, ".10g")
    assert {answer: numbers.near_probability(answer, gold, facts) for answer in [gold, *right]} == dict.fromkeys([gold, *right], True)  # fmt: skip
    assert {answer: numbers.near_probability(answer, gold, facts) for answer in wrong} == dict.fromkeys(wrong, False)  # fmt: skip


def test_a_list_of_all_moves_solves_nothing_though_it_does_for_the_library():
    from reasoning_gym.games.boxnet import action_from_response
    from reasoning_gym.games.rush_hour import Board

    board = "ooooox" + "oooBoo" + "AAoBoo" + "oooooo" + "oooooo" + "oooooo"
    every_move = "A+9 A-9 B-9 B+9 A+9"
    theirs = Board(board)
    theirs.perform_moves(every_move)
    assert theirs.solved
    assert not boards.driven_cars(every_move, "", {"board_config": board})

    squares = {"0.5_0.5": ["box_red"], "0.5_1.5": ["target_red"], "1.5_0.5": [], "1.5_1.5": []}
    here, there = [0.5, 0.5], [0.5, 1.5]
    plan = {f"Agent{at}": f"move(box_red, square{there})" for at in (here, [1.5, 1.5])}
    every_plan = [plan, {f"Agent{at}": "move(box_red, target_red)" for at in (here, there)}]
    left = action_from_response(squares, every_plan)
    assert not any("box_red" in things for things in left.values())
    assert not boards.matched_boxes(json.dumps(every_plan), "", {"initial_state": squares})


def test_a_number_is_read_to_the_last_digit_or_not_at_all():
    assert [number(text) for text in ("1", "-2.50", "+.5", "5.", "1e-2", " 7 ")] == [
        1,
        -2.5,
        0.5,
        5,
        ratio("1/100"),
        7,
    ]
    refused = [
        "",
        ".",
        "1e",
        "1e9999",
        "nan",
        "inf",
        "1_0",
        "٣",
        "²",
        "1,000",
        "0x1",
        "1 2",
        "--1",
        "9" * 5000,
    ]
    assert [text for text in refused if number(text) is not None] == []
    assert [number(text, grouped=True) for text in ("1,000", "-12,345.5", "1000")] == [1000, -12345.5, 1000]
    assert [
        text for text in ("1,00", "1000,000", ",100", "1,000,", "1,,000") if number(text, grouped=True)
    ] == []
    assert (ratio("3/4"), ratio("-3 / 4"), ratio("1/0"), ratio("1/2/3"), ratio("0.5")) == (
        0.75,
        -0.75,
        None,
        None,
        0.5,
    )
    assert (integer("-07"), integer("7.0"), integer("٣"), integer("1_0")) == (-7, None, None, None)


def test_json_holds_whole_numbers_and_no_constants_of_its_own():
    assert json_value('{"a": [1, "x", null, true]}') == {"a": [1, "x", None, True]}
    assert json_value("[1.5, 2]", numbers_as_text=True) == ["1.5", "2"]
    refused = ["", "[1.5]", "[NaN]", "[Infinity]", "[1e999]", "{'a': 1}", "[" * 100_000, "[1] x", "9" * 5000]
    assert [text for text in refused if json_value(text) is not None] == []


def test_rows_are_words_by_line():
    assert rows(" a  b\n\n\tc \r\n") == [["a", "b"], ["c"]]

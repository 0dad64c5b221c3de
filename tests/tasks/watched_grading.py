"""A script that hands injections to graders and says all that happens but grading.

    python watched_grading.py GRADERS FOLDER [NAME...]

``GRADERS`` is ``gym``, ``others`` or ``library``: our verifiers of every dataset, every other task, or, to
see that this script sees something, the verifiers of reasoning-gym itself; names choose among them.  It
works in ``FOLDER`` and prints JSON: findings, each with the grader, the response, and what was seen.
"""

import builtins
import json
import os
import sys
from copy import deepcopy
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from gym_problems import DATASETS, entry, library, solution, verifying  # noqa: E402
from injections import CODE, EVERYTHING, dressed  # noqa: E402

WATCHED = ("code", "compile", "ctypes", "exec", "fork", "function", "import", "marshal", "os", "pickle")
WATCHED += (
    "open",
    "pty",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "urllib",
    "builtins",
)

seen = []
is_watching = False


def watch(event, args):
    """Note every event of the kinds above."""
    if not is_watching or event.split(".")[0] not in WATCHED or event in ("sys._getframe", "builtins.id"):
        return
    seen.append(f"{event} {args!r}"[:200])


def watched(grade, *arguments):
    """The score, or the error that came out, and the events until then."""
    global is_watching
    seen.clear()
    is_watching = True
    try:
        score = grade(*arguments)
    except BaseException as error:
        score = f"{type(error).__name__}: {error}"[:200]
    finally:
        is_watching = False
    return score, list(seen)


def state():
    """What an injection would change: files, environment, modules and the functions in them."""
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] in GUARDED]
    attributes = {(m.__name__, name): id(value) for m in [builtins, *ours] for name, value in vars(m).items()}
    classes = {
        (cls.__qualname__, name): id(value)
        for module in ours
        for cls in vars(module).values()
        if isinstance(cls, type)
        for name, value in vars(cls).items()
        if callable(value)
    }
    modules = sorted(name for name in sys.modules if name.split(".")[0] != "sympy")
    return sorted(path.name for path in Path().iterdir()), dict(os.environ), modules, attributes, classes


GUARDED = {"tasks", "json", "re", "fractions", "decimal", "math", "reasoning_gym", "magiccube"}


def findings(name, grade, problem, right, responses):
    """All that one grader does with the responses besides scoring them 0."""
    warm = [watched(grade, problem, response)[0] for response in (*right, "junk", "[1]", "\\boxed{1}")]
    before = state()
    for response in responses:
        score, events = watched(grade, problem, response)
        if score != 0.0:
            yield name, response[:100], f"score {score!r}"
        for event in events:
            yield name, response[:100], event
    for what, was, now in zip(("files", "environment", "modules", "functions", "classes"), before, state()):
        if was != now:
            yield name, "", f"{what} changed"
    again = [watched(grade, problem, response)[0] for response in (*right, "junk", "[1]", "\\boxed{1}")]
    if again != warm or warm[: len(right)] != [1.0] * len(right):
        yield name, "", f"honest answers score {warm} before and {again} after"


def of_the_gym():
    """Our verifiers, through the task, with the problem of each dataset's first entry."""
    from tasks.base import Problem

    everything = [text for injection in EVERYTHING for text in dressed(injection)[:2]]
    for dataset in sys.argv[3:] or DATASETS:
        made, right = deepcopy(entry(dataset, 0)), solution(dataset, 0)
        facts = {"entry": 0, "has_answer": made["answer"] is not None}
        problem = Problem(
            prompt="?", answer=made["answer"] or "", domain=dataset, difficulty=0.0, facts=facts
        )
        grade = verifying(dataset).grade
        yield from findings(dataset, grade, problem, [right] if right else [], everything)
        if repr(verifying(dataset)._entry(0)) != repr(made):
            yield dataset, "", "the problem itself changed"


def of_the_other_tasks():
    """Every other task with every way to hand in an answer."""
    from test_conformance import small_tasks

    from tasks import TASKS

    Path("sums.jsonl").write_text(
        "".join(f'{{"prompt": "{i}+1=", "answer": "{i + 1}"}}\n' for i in range(40))
    )
    Path("words.jsonl").write_text(
        "".join(f'{{"question": "Half of {i}?", "answer": "{i}/2"}}\n' for i in range(3, 83, 2))
    )
    everything = [text for injection in EVERYTHING for text in dressed(injection)]
    for kind, settings in small_tasks("sums.jsonl", "words.jsonl").items():
        task = TASKS[kind](**settings)
        task.prepare()
        problem = task.problem("train", 0, 3)
        # Some answers count only in a whole response, as a demonstration without errors is.
        right = (
            problem.answer
            if task.grade(problem, problem.answer)
            else task.demonstrate(problem, Random(0), 0.0)
        )
        yield from findings(kind, task.grade, problem, [right], everything)

        def long_reply(problem, response, task=task):
            return float(len(task.reply(problem, [response]) or "") > 1000)

        yield from findings(f"reply of {kind}", long_reply, problem, [], everything)


def of_the_library():
    """reasoning-gym's own verifiers, with code that does no harm."""
    for dataset in sys.argv[3:] or [*DATASETS, "intermediate_integration", "polynomial_multiplication"]:
        of, made = library(dataset), library(dataset)[0]

        def grade(problem, response, of=of, made=made):
            return float(of.score_answer(response, entry=deepcopy(made)) >= 1.0)

        harmless = [text for text in CODE if "x'" in text and "Popen" not in text and "Thread" not in text]
        yield from findings(dataset, grade, None, [], harmless)


if __name__ == "__main__":
    graders, folder = sys.argv[1:3]
    os.chdir(folder)
    sys.addaudithook(watch)
    found = {"gym": of_the_gym, "others": of_the_other_tasks, "library": of_the_library}[graders]()
    print("\n" + json.dumps([list(finding) for finding in found]))

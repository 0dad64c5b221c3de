"""The samples of a run: a few responses of an iteration as texts, one Parquet file an iteration.

The file of an iteration is replaced as a whole, so a run that continues from a checkpoint writes what it has
written before again, and no sample twice.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, named, one_line
from orchestrator.masking import mask
from orchestrator.storage.files import replace_file

if TYPE_CHECKING:  # pyarrow takes a third of a second to import
    import pyarrow

LONGEST_TEXT = 8000
"""Characters that are kept of a prompt, an answer or a response; a mark says that there were more."""

MOST_TOKENS = 1000
"""Tokens of a response that are kept one by one."""

CUT = " […]"

_OF_TOKENS = ("tokens", "token_turns", "entropies")
_NAME = re.compile(r"iteration-(\d+)\.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One graded response, or an episode, as the policy gave it before the update of its iteration."""

    iteration: int
    number: int
    """Its place among the responses of the iteration."""
    domain: str
    prompt: str
    answer: str
    """What the task holds to be right."""
    turns: Sequence[str]
    """The response; of an episode the policy's first turn, the task's reply, the policy's second turn, and so on."""
    reward: float
    right: bool
    """Whether its reward is 1, by which evaluations count."""
    length: int
    """The policy's own tokens, all of them."""
    finished: bool
    """False where it was cut at the limit of tokens."""
    tokens: Sequence[str] = ()
    """Texts of the first tokens, replies and stop tokens included; empty where they are not kept."""
    token_turns: Sequence[int] = ()
    """The turn that each of them is of, from 1; 0 in a reply."""
    entropies: Sequence[float | None] = ()
    """Entropy of the policy at each of them [nats]; None in a reply."""

    @property
    def mean_entropy(self) -> float | None:
        """Over the tokens that are kept [nats/token]; None where none are."""
        known = [each for each in self.entropies if each is not None]
        return sum(known) / len(known) if known else None


def sample_path(folder: Path, iteration: int) -> Path:
    """The file of an iteration, in the folder of samples; names are in the order of time."""
    return folder / f"iteration-{iteration:08d}.parquet"


def sample_files(folder: Path, before: int | None = None) -> dict[int, Path]:
    """The files of a folder by their iterations, in the order of time; those ``before`` an iteration."""
    found = {int(name[1]): path for path in folder.glob("*") if (name := _NAME.fullmatch(path.name))}
    return {each: found[each] for each in sorted(found) if before is None or each < before}


def write_samples(folder: Path, iteration: int, samples: Sequence[Sample]) -> None:
    """Replace the file of an iteration.  Texts lose their credentials, and what no UTF-8 can hold.

    Raises:
        OSError: the disk is full; the file of before is still there.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([_row(each) for each in samples], schema=_schema())
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content, compression="zstd")
    replace_file(sample_path(folder, iteration), content.getvalue())


def read_samples(path: Path) -> list[Sample]:
    """The samples of one file.

    Raises:
        ConfigError: the file is not one of samples, or cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path, columns=_schema().names).to_pylist()
        return [Sample(**row) for row in rows]
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        raise ConfigError(
            f"{named(path)}: not the samples of an iteration ({one_line(error)}); delete the file, which loses "
            "nothing else"
        ) from error


def undamaged_samples(path: Path) -> list[Sample]:
    """The samples of one file; none of one that is damaged, which loses who only shows samples nothing else."""
    try:
        return read_samples(path)
    except ConfigError:
        return []


def forget_samples(folder: Path, iteration: int) -> None:
    """Remove the samples of iterations that a run, which goes on from ``iteration``, has before it."""
    for each, path in sample_files(folder).items():
        if each >= iteration:
            path.unlink(missing_ok=True)


def _row(sample: Sample) -> dict[str, object]:
    """The texts without credentials and cut; a response that had some is not kept token by token."""
    row = asdict(sample) | {name: _cut(getattr(sample, name)) for name in ("prompt", "answer")}
    row["turns"] = [_cut(turn) for turn in sample.turns]
    hides = any(mask(turn) != turn for turn in sample.turns)
    row |= {name: [] if hides else row[name][:MOST_TOKENS] for name in _OF_TOKENS}
    return {name: _storable(value) for name, value in row.items()}


def _cut(text: str) -> str:
    text = mask(text)  # first, for what is left of half a URI no longer looks like one
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + CUT


def _storable(value: object) -> object:
    """A lone surrogate, which no UTF-8 can hold, becomes the sign for what cannot be shown."""
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    kinds = {
        "str": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "Sequence[str]": pa.list_(pa.string()),
        "Sequence[int]": pa.list_(pa.int32()),
        "Sequence[float | None]": pa.list_(pa.float32()),
    }
    return pa.schema([(each.name, kinds[str(each.type)]) for each in fields(Sample)])

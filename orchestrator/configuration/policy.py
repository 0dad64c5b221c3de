"""The section ``policy``: which language model is trained, and which of its parts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from orchestrator.configuration.part_schema import Strict, section
from policies.initialisation import Initialisation
from policies.model.chat import Chat
from policies.model.prompt_start import Bos
from policies.model.reference import START
from policies.model.sources import BUILTIN
from policies.model.tiny import TinyModel
from policies.model.trainable import Lora
from policies.model.warm_start import WarmStart
from policies.statistics.packed_attention import Kernel

TINY_HIDDEN_SIZE = 128


class PolicyConfig(Strict):
    """The language model that is trained."""

    source: str = "builtin:tiny"
    """A local folder, a GGUF file, a hub id, ``package:NAME`` for the GGUF file in an installed Python package,
    or ``builtin:tiny``."""
    architecture: Annotated[TinyModel, section(TinyModel)] = TinyModel()
    """Size of the built-in policy."""
    warm_start: Annotated[WarmStart, section(WarmStart)] = WarmStart()
    """Supervised start of the built-in policy."""
    reference: Annotated[str, Field(min_length=1)] = START
    """Policy that the actuators ``kl_coefficient`` and ``kl_reward`` and the sensors ``reference_kl`` compare with:
    ``start`` is the one that the run started from, else as for ``source``.  Loaded only where a loop names one of them,
    beside the trained policy and as large as it, but for ``start`` under ``lora``, which takes no memory."""
    initialisation: Annotated[Initialisation, section(Initialisation)] = Initialisation()
    """Entropy that the fresh policy has to have before training."""
    trust_remote_code: bool = False
    """Run Python code that comes with a hub model.  Only for models whose authors you trust."""
    chat: Annotated[Chat, section(Chat)] | None = None
    """Put prompts to the model as turns of a conversation; null gives them as they stand."""
    bos: Bos = "tokenizer"
    """Whether a prompt that is given as it stands begins with the tokenizer's BOS token: where the ``tokenizer`` puts
    it first by itself, ``always``, or ``never``."""
    attention: Kernel = "auto"
    """Kernel that packed rows (``learner.tokens_per_micro_batch``) attend by: torch's own of variable length (``varlen``),
    the package flash-attn (``flash``), torch's flexible attention (``flex``), which is compiled and takes 32 bits too, or
    torch's for whole rows, row by row (``sdpa``).  ``auto`` takes the first that is there for the device and the
    precision, and never ``flex``, whose speed was not measured yet."""
    lora: Annotated[Lora, section(Lora)] | None = None
    """Train low-rank adapters and freeze the rest; null trains the model's own weights."""
    trainable_layers: PositiveInt | None = None
    """Train only so many of the last layers and freeze the rest, which is faster and takes less memory."""

    @property
    def is_tiny(self) -> bool:
        """Whether its tensors are too small for several CPU threads to share."""
        return self.source == BUILTIN and self.architecture.hidden_size <= TINY_HIDDEN_SIZE

    @model_validator(mode="after")
    def _one_way_to_train_and_to_speak(self) -> PolicyConfig:
        if self.lora is not None and self.trainable_layers is not None:
            raise ValueError(
                f"trainable_layers must be null beside lora, which freezes all layers, got {self.trainable_layers}; "
                "remove one of the two"
            )
        if self.chat is not None and self.source == BUILTIN:
            raise ValueError(f"chat must be null for {BUILTIN}, which has no chat template; remove it")
        if self.chat is not None and self.bos != "tokenizer":
            raise ValueError(
                f"bos must be 'tokenizer' beside chat, whose template writes all special tokens itself, got {self.bos!r}; "
                "remove one of the two"
            )
        if self.bos == "always" and self.source == BUILTIN:
            raise ValueError(
                f"bos must not be 'always' for {BUILTIN}, whose prompts begin with none from its supervised start on; "
                "remove it"
            )
        return self

    @model_validator(mode="after")
    def _only_our_own_is_drawn_again(self) -> PolicyConfig:
        initialisation = self.initialisation
        if (
            initialisation.floor_nats is not None
            and initialisation.action == "redraw"
            and self.source != BUILTIN
        ):
            raise ValueError(
                f"initialisation.action must not be 'redraw' for the pretrained source {self.source!r}, which "
                "is what it is; set 'recalibrate' to raise the temperature, or choose another checkpoint"
            )
        if (
            initialisation.floor_nats is not None
            and initialisation.action == "redraw"
            and self.warm_start.seed is None
        ):
            raise ValueError(
                "warm_start.seed must not be null with initialisation.action 'redraw', which takes the seeds that follow, "
                "and those are other runs' own; name a seed, or set 'recalibrate'"
            )
        return self

"""How a network is trained: optimiser, schedule, precision, and where it forks from its siblings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zoo.spec.growing import GrowingSpecification

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw", "sam"]
ScheduleName = Literal["constant", "cosine", "step", "one-cycle"]
Precision = Literal["float32", "bfloat16", "float16"]
TempBalance = Literal["none", "full", "farms"]


class TrainingSpecification(GrowingSpecification):
    """How a network was trained.

    Attributes:
        optimizer: `sgd` and `nesterov` (as `torch.optim.SGD`), `adam`, `adamw` (as torch's), or `sam`
            (sharpness-aware minimisation around `sgd`).
        learning_rate: Peak learning rate.
        momentum: Momentum of sgd, nesterov and sam, in [0, 1).
        weight_decay: L2 coefficient added to the gradient of every parameter; for `adamw` the share of each
            parameter taken off at learning rate 1.
        batch_size: Items that one optimiser step sees.
        epochs: Passes over the training data.
        schedule: `constant`; `cosine` from the peak to zero over all steps; `step`, a drop by `decay_factor`
            every `decay_epochs`; `one-cycle`, torch's `OneCycleLR` with its defaults, which cycles the
            momentum (or `beta1`) between 0.95 and 0.85 whatever its own field says.
        warmup_epochs: Epochs of linear rise to the peak, before any schedule but `one-cycle`.
        decay_epochs: Epochs between the drops of the schedule `step`.
        decay_factor: Factor of each drop.
        beta1: Decay of the mean of gradients, adam and adamw.
        beta2: Decay of the mean of their squares, adam and adamw.
        epsilon: Added to the root of the latter, adam and adamw.
        sam_radius: How far sam climbs before it takes the gradient; a temperature of another kind.
        gradient_clip: Largest norm of a gradient; a longer one is scaled down to it.
        init_scale: Factor on the initial weight matrices and kernels.
        init_rank: Rank to which the initial weight matrices and kernels are brought, each at its own norm,
            before `init_scale` (Liu et al. 2023); nothing for as they were drawn. Weights of a parent are
            not touched.
        adversarial_epsilon: Radius of the ball, in the maximum norm and in units of inputs as networks see
            them, within which each step moves its inputs to where the loss is higher (Madry et al. 2018);
            nothing for ordinary training, 0 for the same numbers.
        adversarial_steps: Steps of that attack; 1 is FGSM from a random start.
        temp_balance: Learning rates layer by layer (TempBalance, Zhou et al. 2023): at the start of each
            epoch the layer whose weights have the lightest tail, the largest exponent, gets the largest.
            `full` takes the exponents of whole matrices, `farms` those of windows of one aspect ratio (Hu et
            al. 2025); `none` for one rate.
        temp_balance_spread: Rates of layers lie between `1 - spread` and `1 + spread` times the schedule's;
            for ResNet-18 the papers take 0.4 with `full` and 0.9 with `farms`.
        precision: Arithmetic of the forward pass. `float16` scales the loss, each network by its own factor.
        loss_bound: Mean loss of an epoch above which a network counts as diverged, beside one that is no
            number.
    """

    added: ClassVar[frozenset[str]] = frozenset(
        {
            "warmup_epochs",
            "decay_epochs",
            "decay_factor",
            "beta1",
            "beta2",
            "epsilon",
            "sam_radius",
            "gradient_clip",
            "init_scale",
            "init_rank",
            "adversarial_epsilon",
            "adversarial_steps",
            "temp_balance",
            "temp_balance_spread",
            "precision",
            "loss_bound",
        }
    )

    optimizer: OptimizerName = "sgd"
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    schedule: ScheduleName = "constant"
    warmup_epochs: int = Field(default=0, ge=0)
    decay_epochs: int | None = Field(default=None, ge=1)
    decay_factor: float = Field(default=0.1, gt=0, le=1)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, ge=1e-30, allow_inf_nan=False)
    sam_radius: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    gradient_clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    init_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    init_rank: int | None = Field(default=None, ge=1)
    adversarial_epsilon: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    adversarial_steps: int | None = Field(default=None, ge=1)
    temp_balance: TempBalance = "none"
    temp_balance_spread: float = Field(default=0.4, gt=0, le=1)
    precision: Precision = "float32"
    loss_bound: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def unused(self) -> frozenset[str]:
        """Fields that change nothing under this optimiser, schedule, attack and balance."""
        adaptive = self.optimizer in {"adam", "adamw"}
        found = {"momentum"} if adaptive else {"beta1", "beta2", "epsilon"}
        if self.schedule == "one-cycle":
            found |= {"momentum", "beta1"}
        if self.optimizer != "sam":
            found.add("sam_radius")
        if self.schedule != "step":
            found |= {"decay_epochs", "decay_factor"}
        if self.adversarial_steps is None:
            found.add("adversarial_epsilon")
        if not self.adversarial_epsilon:
            found.add("adversarial_steps")
        if self.temp_balance == "none":
            found.add("temp_balance_spread")
        return frozenset(found)

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainingSpecification:
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        if (self.schedule == "step") != (self.decay_epochs is not None):
            raise ValueError("decay_epochs and the schedule 'step' need each other")
        if (self.adversarial_epsilon is None) != (self.adversarial_steps is None):
            raise ValueError("adversarial_epsilon and adversarial_steps need each other")
        if self.warmup_epochs and self.schedule == "one-cycle":
            raise ValueError("one-cycle has a warm-up of its own; leave warmup_epochs out")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be below epochs {self.epochs}")
        return self


class ForkSpecification(BaseModel):
    """Where a network leaves the trunk that it shares with its siblings, and what changes there.

    Up to this epoch it is trained as the rest of the specification says, so siblings share their weights;
    then its data order comes from `fork_seed`, and what is given here replaces the trunk's value.

    Attributes:
        epoch: Last epoch of the trunk; 0 forks at the initial weights.
        learning_rate: Peak learning rate after the fork; schedules go on where they are.
        momentum: Momentum after the fork.
        weight_decay: Weight decay after the fork.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int = Field(ge=0)
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def apply(self, training: TrainingSpecification) -> TrainingSpecification:
        """Give the training after the fork.

        Args:
            training: The training of the trunk.

        Returns:
            The same with what the fork changes.
        """
        changes = self.model_dump(exclude={"epoch"}, exclude_none=True)
        return TrainingSpecification.model_validate({**training.model_dump(), **changes})

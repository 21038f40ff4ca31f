"""What every spec is: frozen, typed, and closed to unknown fields."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen set of named values. Unknown keys are refused, infinities and NaN too."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

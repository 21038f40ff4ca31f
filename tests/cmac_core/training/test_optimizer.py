"""A step whose gradient is not finite changes nothing, whichever optimiser takes it; the others are torch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cmac_core.training.optimizer import BETAS, adamw, sgd

MAKERS: dict[str, Callable[[nn.Parameter], torch.optim.Optimizer]] = {
    "sgd": lambda weight: sgd([{"params": [weight]}], lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda weight: adamw([{"params": [weight]}], lr=0.1, weight_decay=0.01),
}
PLAIN: dict[str, Callable[[nn.Parameter], torch.optim.Optimizer]] = {
    "sgd": lambda weight: torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda weight: torch.optim.AdamW([weight], lr=0.1, betas=BETAS, weight_decay=0.01),
}


@pytest.mark.parametrize("name", MAKERS)
def test_skipped_steps_leave_weights_and_state_as_they_are(name: str) -> None:
    start, gradients = torch.linspace(-1, 1, 5), torch.linspace(1, 3, 5)
    ours, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    skipping, optimizer = MAKERS[name](ours), PLAIN[name](plain)
    for good in (False, True, False, False, True):
        ours.grad = gradients.clone() if good else torch.full_like(gradients, torch.nan)
        skipping.found_inf = torch.tensor(0.0 if good else 1.0)  # type: ignore[attr-defined]
        skipping.step()
        if good:
            plain.grad = gradients.clone()
            optimizer.step()
        torch.testing.assert_close(ours, plain)

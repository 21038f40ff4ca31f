"""L-BFGS for smooth convex functions (Nocedal and Wright, algorithms 7.4 and 7.5), on any device.

torch.optim has one too, but building it imports torch's compiler, which takes longer than all fits of a probe.
"""

from collections import deque
from collections.abc import Callable

from torch import Tensor

HISTORY, STEPS, TOLERANCE = 10, 500, 1e-4  # the tolerance is scikit-learn's; fp32 does not always reach less
DESCENT, HALVINGS = 1e-4, 12  # Armijo's constant, and how often a step is halved at most

Loss = Callable[[Tensor], tuple[float, Tensor]]  # value and gradient
Pair = tuple[Tensor, Tensor, float]  # step, change of the gradient, 1 / their product


def minimize(loss: Loss, x: Tensor, inverse: Tensor) -> Tensor:
    """The x at which `loss` is lowest, up to a largest gradient of TOLERANCE. Deterministic.

    `inverse` is what is known beforehand of the inverse Hessian's diagonal, broadcast over x.
    """
    pairs: deque[Pair] = deque(maxlen=HISTORY)
    value, gradient = loss(x)
    for _ in range(STEPS):
        if float(gradient.abs().max()) <= TOLERANCE:
            break
        direction = -_times_inverse_hessian(gradient, pairs, inverse)
        found = _go(loss, x, value, gradient, direction)
        if found is None:
            if not pairs:
                break  # not even downhill: as low as this precision goes
            pairs.clear()
            continue
        new_x, value, new_gradient = found
        step, change = new_x - x, new_gradient - gradient
        curvature = float((step * change).sum())
        if curvature > 1e-10 * float(change.square().sum()):  # else rounding would spoil the inverse
            pairs.append((step, change, 1 / curvature))
        x, gradient = new_x, new_gradient
    return x


def _times_inverse_hessian(gradient: Tensor, pairs: deque[Pair], diagonal: Tensor) -> Tensor:
    """The two loops over the last steps, about a diagonal that is scaled to the last one."""
    q, shares = gradient.clone(), []
    for step, change, inverse in reversed(pairs):
        share = inverse * float((step * q).sum())
        shares.append(share)
        q -= share * change
    q *= diagonal
    if pairs:
        _, change, inverse = pairs[-1]
        q /= inverse * float((diagonal * change.square()).sum())
    for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        q += (share - inverse * float((change * q).sum())) * step
    return q


def _go(
    loss: Loss, x: Tensor, value: float, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, float, Tensor] | None:
    """Halve the step until the loss falls enough; None when it does not."""
    length = 1.0
    slope = float((gradient * direction).sum())
    if slope >= 0:
        return None
    for _ in range(HALVINGS):
        there = x + length * direction
        lower, gradient_there = loss(there)
        # Near the end the loss falls by less than fp32 resolves; a gradient that shrinks is progress too.
        flat = abs(lower - value) <= 1e-7 * max(abs(value), 1e-12)
        if lower <= value + DESCENT * length * slope or (flat and gradient_there.norm() < gradient.norm()):
            return there, lower, gradient_there
        length /= 2
    return None

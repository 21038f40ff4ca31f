"""Networks: encoders, projections, saliency heads, batch norm in groups."""

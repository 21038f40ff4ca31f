"""No torch: the programs of the afternoon need none of it but the name of its launcher."""

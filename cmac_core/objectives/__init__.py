"""What the networks are trained to do, equation by equation."""

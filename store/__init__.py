"""What is remembered, and what may be done to it."""

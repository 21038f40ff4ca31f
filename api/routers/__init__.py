"""What comes in, one store call, what goes out."""

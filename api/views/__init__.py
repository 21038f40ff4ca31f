"""What leaves: rows as JSON. The stored spec is shown as it is, never parsed again."""

"""Public data sets as they are distributed: one file a set, from its own annotation files to rows with labels."""

"""The `cmac` command: one file a subject."""

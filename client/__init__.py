"""The Python client and the `cmac` command line."""

"""The HTTP face: routers, problems, authentication, event streams."""

"""The manual: the project's documents as pages, served under /manual and written as a site by `make docs`."""

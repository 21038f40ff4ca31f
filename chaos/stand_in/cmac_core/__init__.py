"""The real package with another way in: all but `__main__` is found where it always is."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

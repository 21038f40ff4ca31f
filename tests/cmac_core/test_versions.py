from importlib.metadata import version

from cmac_core.versions import installed


def test_what_is_not_installed_is_left_out() -> None:
    assert installed("torch", "no-such-package") == {"torch": version("torch")}


def test_names_have_underscores() -> None:
    assert list(installed("import-linter")) == ["import_linter"]

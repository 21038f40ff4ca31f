"""What pyproject.toml cannot say: an installed package carries the manual's documents inside `api/manual`."""

import importlib.util
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithDocuments(build_py):
    """A checkout's own install reads them where they are; a wheel gets a copy."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        spec = importlib.util.spec_from_file_location("documents", ROOT / "api" / "manual" / "documents.py")
        assert spec is not None
        assert spec.loader is not None
        documents = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(documents)
        for file in documents.files(ROOT):
            target = Path(self.build_lib) / "api" / "manual" / "documents" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, target)


setup(cmdclass={"build_py": BuildWithDocuments})

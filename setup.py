"""Build of the wheel: the five packages of the repository become one package, `transfer_ledger`.
See docs/adr/0013."""

import re
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PACKAGES = ("domain", "application", "projections", "infrastructure", "scripts")
IMPORT = re.compile(rf"^(\s*(?:from|import)) (?=(?:{'|'.join(PACKAGES)})\b)", re.M)
FLAT = find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")])
EDITABLE = "editable_wheel" in sys.argv
"""An editable installation keeps the packages of the repository, so that tests and tools need not
know of the wheel."""


class BuildOnePackage(build_py):
    """Copies `domain` to `transfer_ledger/domain`, and so on, with absolute imports rewritten."""

    def run(self) -> None:
        """Copy the packages, and add the files of the top package."""
        super().run()
        if self.editable_mode:
            return
        top = Path(self.build_lib, "transfer_ledger")
        (top / "__init__.py").write_text('"""Ledger of sellers\' transfers on Stripe Connect."""\n')
        (top / "__main__.py").write_text(
            "from transfer_ledger.scripts.__main__ import main\n\nmain()\n"
        )
        (top / "client.py").write_text(
            '"""Python client of the ledger\'s HTTP API."""\n\n'
            "from transfer_ledger.infrastructure.client import *  # noqa: F403\n"
            "from transfer_ledger.infrastructure.client import __all__  # noqa: F401\n"
        )
        for name in (".env.template", "domain/py.typed"):
            shutil.copy(name, top)

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        """Copy a module, and rewrite its imports of the five packages."""
        copy, copied = super().build_module(module, module_file, package)
        if not self.editable_mode:
            Path(copy).write_text(IMPORT.sub(r"\1 transfer_ledger.", Path(copy).read_text()))
        return copy, copied


setup(
    cmdclass={"build_py": BuildOnePackage},
    packages=FLAT if EDITABLE else [f"transfer_ledger.{package}" for package in FLAT],
    package_dir={} if EDITABLE else {"transfer_ledger": ""},
    package_data={"": ["**/*.sql", "py.typed", "templates/*.html", "static/*"]},
    entry_points={
        "console_scripts": [
            f"transfer-ledger = {'' if EDITABLE else 'transfer_ledger.'}scripts.__main__:main"
        ]
    },
)

"""Does the code that runs on targets work on this Python? Needs nothing but the standard library.

Compiles every module, imports every file of module_utils, and reads this machine with them.
"""

from __future__ import annotations

import importlib
import pathlib
import sys

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "ansible_collections.gpulab.workstation.plugins.module_utils"


def main() -> None:
    for module in (CHECKOUT / "plugins" / "modules").glob("*.py"):
        compile(module.read_text(encoding="utf-8"), str(module), "exec", dont_inherit=True)

    sys.path.insert(0, str(CHECKOUT / ".collections"))
    names = sorted(path.stem for path in (CHECKOUT / "plugins" / "module_utils").glob("_*.py"))
    loaded = {name: importlib.import_module(f"{PACKAGE}.{name}") for name in names}

    system = loaded["_system"].read_system()
    assert system["architecture"], system
    assert system["memory_mib"] > 0, system
    evidence = loaded["_receipt"].observe(files=[str(CHECKOUT / "galaxy.yml")], packages=["bash"])
    assert all(item["state"] for item in evidence), evidence
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}: {len(names)} files of module_utils imported, this machine read")


if __name__ == "__main__":
    main()

"""Stands in for the script with which ansible-test brings pip into the empty environments it makes.

ansible-test would fetch it from a host of its own, which a machine that reaches nothing but package indexes does not.
Every interpreter carries a pip, and that one will do: ansible-test only installs its own pinned requirements with it,
and removes it again. The version of pip that ansible-test asks for in the arguments is left aside.
"""

from __future__ import annotations

import ensurepip

if __name__ == "__main__":
    ensurepip.bootstrap()

"""The settings of the program: read once, validated whole, frozen.

`load` gives `Loaded`; its `config` has a section for each part, handed to the part by serve.
"""

from rlmd.config.load import Loaded, load
from rlmd.config.schema import Config

__all__ = ["Config", "Loaded", "load"]

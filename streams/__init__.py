"""The engine: the pure core, its store and commit, and the Faust app around them."""

import os

from backbeat.streams import compiled

if os.environ.get(compiled.PURE_VARIABLE):
    compiled.prefer_python()

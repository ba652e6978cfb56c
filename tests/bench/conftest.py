"""Every program that is measured starts as an installed one does."""

import os

# with it our modules, which pip has not compiled, would be compiled anew at each start: a seventh of the console's
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

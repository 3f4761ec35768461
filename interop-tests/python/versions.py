#!/usr/bin/env python3
"""Prints the versions of installed packages, one per line: versions.py PACKAGE ..."""

import sys
from importlib.metadata import version

for package in sys.argv[1:]:
    print(version(package))

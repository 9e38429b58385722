"""What setup.cfg cannot say: the folder configs is the package skinjax.configs, too.

That is where an installed `python -m skinjax.main --config=skinjax:clgr` finds its experiments.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=['skinjax*']), 'skinjax.configs'],
    package_dir={'skinjax.configs': 'configs'},
)

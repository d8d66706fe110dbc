"""Packaging of greenproxy; the tools' settings stand in pyproject.toml and tox.ini."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "greenproxy" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
if VERSION is None:
    raise SystemExit("greenproxy/__init__.py has no __version__")

TEST = [
    "pytest>=9,<10",
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.100,<7",
    "httptools>=0.6,<1",  # a second opinion on everything the parser accepts
    "httpx>=0.28,<1",
    "websockets>=15",
    "flask>=3,<4",
    "setuptools>=64",  # the packaging test builds a wheel without the network
    "wheel",
    # The versions of these decide what is an error, so they move only on purpose.
    "ruff==0.17.*",
    "mypy==2.4.*",
    "types-gevent==26.9.*",
]

# libFuzzer for Python, where there are wheels of it: to build it takes a whole clang.
FUZZ = ["atheris>=3,<4; sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '3.15'"]

setup(
    name="greenproxy",
    version=VERSION.group(1),
    description="The proxy and load balancer for Python teams: blocking-looking code on gevent and gunicorn",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    author="the greenproxy authors",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["greenproxy", "greenproxy.*"]),
    package_data={"greenproxy": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "gevent>=26,<27",
        "gunicorn>=27,<28",  # greenproxy/master.py overrides its Arbiter, which is no documented interface
        "h11>=0.16,<1",
        "statsd>=4,<5",
        "ConfigArgParse>=1.7,<2",
    ],
    extras_require={"test": TEST, "fuzz": FUZZ},
    entry_points={"console_scripts": ["greenproxy = greenproxy.cli:main"]},
    zip_safe=False,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Internet :: Proxy Servers",
        "Topic :: Internet :: WWW/HTTP",
        "Typing :: Typed",
    ],
)

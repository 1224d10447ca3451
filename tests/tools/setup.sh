#!/bin/sh
# Makes the checkout's own virtual environment (.venv) with the recorded packages, and Binwire itself in editable form.
# Called by `make` before everything else; does nothing that is done already. PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
packages=tests/tools/requirements-dev.txt

fail() {
    echo "binwire: $1" >&2
    exit 1
}

command -v "$python" >/dev/null ||
    fail "$python is not on the PATH: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" -V) is too old: install Python 3.11 or newer, or name one with PYTHON=…"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments: install the module venv (Debian: apt-get install python3-venv)"

# A virtual environment knows the path it was made in, so a moved checkout gets a new one.
if [ "$(cat .venv/.checkout 2>/dev/null || pwd)" != "$(pwd)" ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo "[setup] making the virtual environment .venv with $("$python" -V)" >&2
    rm -rf .venv
    "$python" -m venv .venv
fi
pwd >.venv/.checkout
echo "[setup] installing the packages recorded in $packages" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$packages"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
# The accelerator: compiled where a compiler is; a notice where that failed.
.venv/bin/python hatch_build.py
touch .venv/.stamp

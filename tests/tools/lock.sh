#!/bin/sh
# Renews the recorded Python packages (tests/tools/requirements-dev.txt) from pyproject.toml: newest versions, all hashes.
# Packages of a running server's wire format are pinned in pyproject.toml itself and stay.
set -eu
cd "$(dirname "$0")/../.."
uv=$(.venv/bin/python -c 'from tests.tools import venvs; print(venvs.ensure("uv", ["uv==0.13.8"]))')/bin/uv
packages=tests/tools/requirements-dev.txt
"$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
    --no-emit-index-url --no-emit-find-links --group dev --output-file "$packages.new" pyproject.toml
{
    echo "# Every package of the development environment, as \`make lock\` resolved pyproject.toml; not edited by hand."
    cat "$packages.new"
} >"$packages"
rm "$packages.new"

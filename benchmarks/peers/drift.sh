#!/bin/sh
# The environment of other projects' drift detectors, whose dependencies are not ours: made once for these versions in .build/peers/drift.
# Prints its interpreter. PYTHON is the interpreter of ours.
set -eu
cd "$(dirname "$0")/../.."

PACKAGES="river==0.26.1 evidently==0.7.23 pandas<3"
place=.build/peers/drift
stamp=$(printf '%s' "$PACKAGES" | sha256sum | cut -c1-16)
if ! test -e "$place/$stamp"; then
    rm -rf "$place"
    mkdir -p "$place"
    "$PYTHON" -m venv --without-pip "$place"
    # shellcheck disable=SC2086  # a list of package names
    "$(dirname "$PYTHON")/uv" pip install --quiet --python "$place/bin/python" $PACKAGES >&2
    touch "$place/$stamp"
fi
echo "$PWD/$place/bin/python"

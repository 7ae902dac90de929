#!/usr/bin/env bash
# Make a virtual environment with phasezoo and all that its tests and linters need: scripts/setup.sh [FOLDER]
# Running it again brings an older or half-made environment up to date.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${1:-.venv}"

fits() { # a name on the path can be a shim that does not run, so ask the interpreter itself
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1
}

find_python() {
    local name
    for name in python3 python3.11 python3.12 /usr/bin/python3 /usr/bin/python3.11 /usr/bin/python3.12; do
        if fits "$name"; then
            command -v "$name"
            return
        fi
    done
    echo "setup: found no Python 3.11 or 3.12; install one, such as: sudo apt-get install python3 python3-venv" >&2
    return 1
}

ensure_venv_module() { # a fresh Debian has Python without ensurepip
    if "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        return
    fi
    local package
    package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $package"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    else
        echo "setup: $1 cannot make virtual environments; run: sudo apt-get install $package" >&2
        exit 1
    fi
}

python="$(find_python)"
ensure_venv_module "$python"
echo "setup: $("$python" --version) at $python makes the environment $venv"
"$python" -m venv "$venv"
echo "setup: installing the versions in constraints.txt (torch is large: minutes on a slow line)"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
echo "setup: done"

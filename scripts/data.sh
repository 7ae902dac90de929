#!/usr/bin/env bash
# Install the data that Debian and Ubuntu have as packages: Fashion-MNIST, and a text. All other data are downloaded.
set -euo pipefail

packages=(dataset-fashion-mnist bible-kjv bible-kjv-text)

if dpkg-query --show "${packages[@]}" >/dev/null 2>&1; then
    echo "data: ${packages[*]} are installed"
    exit
fi
if ! command -v apt-get >/dev/null; then
    echo "data: this machine has no apt-get; the first use of a dataset downloads it, or says where to put its files" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "data: only root can install packages; run: sudo apt-get install ${packages[*]}" >&2
    exit 1
fi
echo "data: installing ${packages[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
echo "data: done"

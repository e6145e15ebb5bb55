#!/bin/sh
# STAND-IN for NVIDIA's kernel build: standin_modules.sh KERNEL_SOURCE VERSION, in a DKMS build folder.
set -eu
kernel_source=$1 version=$2 modules="nvidia nvidia-modeset nvidia-drm nvidia-uvm nvidia-peermem"
if [ -e /etc/dkms/standin_fails ]; then
  echo "error: implicit declaration of function 'standin'" >&2
  exit 2
fi
work=$(mktemp -d)
: > "$work/Kbuild"
for module in $modules; do
  printf '#include <linux/module.h>\nMODULE_LICENSE("NVIDIA");\nMODULE_VERSION("%s");\n' "$version" > "$work/$module.c"
  echo "obj-m += $module.o" >> "$work/Kbuild"
done
make -C "$kernel_source" M="$work" modules
for module in $modules; do
  cp "$work/$module.ko" .
done

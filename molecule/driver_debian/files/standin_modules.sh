#!/bin/sh
# STAND-IN for NVIDIA's kernel build: standin_modules.sh KERNEL_SOURCE VERSION, in a DKMS build folder. The modules can be
# loaded: for a card that udev finds, and they say their version as NVIDIA's do. They drive nothing. Where there is
# /etc/dkms/standin_fails, nothing compiles, or only not the version in it.
set -eu
kernel_source=$1 version=$2 modules="nvidia nvidia-modeset nvidia-drm nvidia-uvm nvidia-peermem"
if [ -e /etc/dkms/standin_fails ] && { [ ! -s /etc/dkms/standin_fails ] || grep -qx "$version" /etc/dkms/standin_fails; }; then
  echo "error: implicit declaration of function 'standin'" >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$work/Kbuild"
for module in $modules; do
  printf '#include <linux/module.h>\nMODULE_LICENSE("NVIDIA");\nMODULE_VERSION("%s");\n' "$version" > "$work/$module.c"
  echo "obj-m += $module.o" >> "$work/Kbuild"
done
cat >> "$work/nvidia.c" << END
#include <linux/fs.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
MODULE_ALIAS("pci:v000010DEd*sv*sd*bc03sc*i*");
static struct proc_dir_entry *folder;
static int tell(struct seq_file *file, void *nothing)
{
	seq_puts(file, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $version  STAND-IN\\n");
	return 0;
}
static const struct file_operations nothing = { .owner = THIS_MODULE };
static int __init begin(void)
{
	int error = register_chrdev(195, "nvidia", &nothing);

	if (error)
		return error;
	folder = proc_mkdir("driver/nvidia", NULL);
	proc_create_single("version", 0444, folder, tell);
	return 0;
}
static void __exit end(void)
{
	proc_remove(folder);
	unregister_chrdev(195, "nvidia");
}
module_init(begin);
module_exit(end);
END
make -C "$kernel_source" M="$work" modules
if [ -e /etc/dkms/standin_dies ]; then
  mv /etc/dkms/standin_dies "$work" && . "$work/standin_dies"
fi
for module in $modules; do
  cp "$work/$module.ko" .
done

// SPDX-License-Identifier: GPL-3.0-or-later
// STAND-IN for nouveau: takes every display of NVIDIA's, and does nothing with it. Where the real one has the card, NVIDIA's
// driver finds none to drive and does not load; here it finds the number of its device files (195) taken.
#include <linux/fs.h>
#include <linux/module.h>

#define NVIDIA_MAJOR 195

static const struct file_operations nothing = { .owner = THIS_MODULE };

static int __init take(void)
{
	return register_chrdev(NVIDIA_MAJOR, "nouveau", &nothing);
}
module_init(take);
MODULE_ALIAS("pci:v000010DEd*sv*sd*bc03sc*i*");
MODULE_DESCRIPTION("stand-in for nouveau");
MODULE_LICENSE("GPL");

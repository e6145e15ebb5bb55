// SPDX-License-Identifier: GPL-3.0-or-later
// STAND-IN for nouveau: takes every display of NVIDIA's, and does nothing with it.
#include <linux/module.h>

MODULE_ALIAS("pci:v000010DEd*sv*sd*bc03sc*i*");
MODULE_DESCRIPTION("stand-in for nouveau");
MODULE_LICENSE("GPL");

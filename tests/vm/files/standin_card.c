// SPDX-License-Identifier: GPL-3.0-or-later
// STAND-IN for a GPU in a slot, for a kernel that knows no PCI: a bus of that name with one device on it, so that sysfs,
// udev and modprobe take it for an RTX 4090.
#include <linux/device.h>
#include <linux/module.h>

#define ATTRIBUTE(name, text)                                                                        \
	static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf)     \
	{                                                                                            \
		return sysfs_emit(buf, text "\n");                                                   \
	}                                                                                            \
	static DEVICE_ATTR_RO(name)

#define MODALIAS "pci:v000010DEd00002684sv00001043sd000088E2bc03sc00i00"

ATTRIBUTE(vendor, "0x10de");
ATTRIBUTE(device, "0x2684");
ATTRIBUTE(class, "0x030000");
ATTRIBUTE(subsystem_vendor, "0x1043");
ATTRIBUTE(subsystem_device, "0x88e2");
ATTRIBUTE(modalias, MODALIAS);

static struct attribute *card_attrs[] = {
	&dev_attr_vendor.attr, &dev_attr_device.attr, &dev_attr_class.attr,
	&dev_attr_subsystem_vendor.attr, &dev_attr_subsystem_device.attr, &dev_attr_modalias.attr, NULL,
};
ATTRIBUTE_GROUPS(card);

static int card_uevent(struct device *dev, struct kobj_uevent_env *env)
{
	return add_uevent_var(env, "MODALIAS=" MODALIAS);
}

static struct bus_type bus = { .name = "pci", .dev_groups = card_groups, .uevent = card_uevent };
static struct device *slot;
static struct device card = { .bus = &bus };

static int __init plug_in(void)
{
	int error = bus_register(&bus);

	if (error)
		return error;
	slot = root_device_register("pci0000:00");
	card.parent = slot;
	dev_set_name(&card, "0000:01:00.0");
	return device_register(&card);
}
module_init(plug_in);
MODULE_DESCRIPTION("stand-in for a GPU in a slot");
MODULE_LICENSE("GPL");

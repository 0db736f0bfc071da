/*
 * A Vulkan layer for tests: the device is lost as soon as the file $LOSE_DEVICE_WHEN exists. Written without Vulkan's
 * headers; the names are those of vk_layer.h. One instance with one device is all that it can serve.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void (*Function)(void);
typedef Function (*GetProcAddr)(void *object, const char *name);
typedef int32_t (*QueueSubmit)(void *queue, uint32_t count, const void *submits, uint64_t fence);

/* VkLayerInstanceLink and VkLayerDeviceLink: the layers below this one. */
struct Link {
  struct Link *next;
  GetProcAddr getInstanceProcAddr;
  GetProcAddr getDeviceProcAddr; /* of a device's link */
};

/* VkLayerInstanceCreateInfo and VkLayerDeviceCreateInfo, in the pNext chain of a create info. */
struct LinkInfo {
  int32_t type;
  struct LinkInfo *next;
  int32_t function;
  struct Link *link;
};

enum { instanceLink = 47, deviceLink = 48, linkInfo = 0, errorDeviceLost = -4 };

static GetProcAddr instanceBelow, deviceBelow;
static QueueSubmit submitBelow;
static void *theInstance;

/* Takes this layer's link out of the chain, so that the next layer finds its own. */
static struct Link *takeLink(const void *createInfo, int32_t type) {
  struct LinkInfo *info = ((struct LinkInfo *)createInfo)->next;
  while (info->type != type || info->function != linkInfo) info = info->next;
  struct Link *link = info->link;
  info->link = link->next;
  return link;
}

static int32_t queueSubmit(void *queue, uint32_t count, const void *submits, uint64_t fence) {
  const char *when = getenv("LOSE_DEVICE_WHEN");
  if (when && access(when, F_OK) == 0) return errorDeviceLost;
  return submitBelow(queue, count, submits, fence);
}

static int32_t createInstance(const void *info, const void *allocator, void **instance) {
  instanceBelow = takeLink(info, instanceLink)->getInstanceProcAddr;
  int32_t (*create)(const void *, const void *, void **) = (void *)instanceBelow(NULL, "vkCreateInstance");
  int32_t result = create(info, allocator, instance);
  theInstance = *instance;
  return result;
}

static int32_t createDevice(void *adapter, const void *info, const void *allocator, void **device) {
  struct Link *link = takeLink(info, deviceLink);
  deviceBelow = link->getDeviceProcAddr;
  int32_t (*create)(void *, const void *, const void *, void **) =
      (void *)link->getInstanceProcAddr(theInstance, "vkCreateDevice");
  int32_t result = create(adapter, info, allocator, device);
  if (result == 0) submitBelow = (QueueSubmit)deviceBelow(*device, "vkQueueSubmit");
  return result;
}

Function vkGetDeviceProcAddr(void *device, const char *name) {
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)vkGetDeviceProcAddr;
  if (!strcmp(name, "vkQueueSubmit")) return (Function)queueSubmit;
  return deviceBelow(device, name);
}

Function vkGetInstanceProcAddr(void *instance, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)vkGetInstanceProcAddr;
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)vkGetDeviceProcAddr;
  if (!strcmp(name, "vkCreateInstance")) return (Function)createInstance;
  if (!strcmp(name, "vkCreateDevice")) return (Function)createDevice;
  return instanceBelow ? instanceBelow(instance, name) : NULL;
}

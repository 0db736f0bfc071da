/** The adapters that the system's Vulkan library lists; onnxruntime-node uses one of them, and doesn't say which. */

import { dlopen, linkSymbols, ptr } from "bun:ffi";
import type { Adapter, AdapterKind } from "./adapter.ts";

/** There is no Vulkan library. */
export class NoVulkan extends Error {
  override name = "NoVulkan";
}

const library = "libvulkan.so.1";

const incompatibleDriver = -9; // VK_ERROR_INCOMPATIBLE_DRIVER: no driver at all

/** In the order of the library. @throws NoVulkan */
export function vulkanAdapters(): Adapter[] {
  const { symbols: vk } = openLibrary();
  const instance = new BigUint64Array(1);
  const failure = vk.vkCreateInstance(instanceRequest(), null, instance);
  if (failure === incompatibleDriver) return [];
  if (failure !== 0) throw new Error(`Vulkan could not start: vkCreateInstance gave ${failure}`);
  const [handle = 0n] = instance; // 64 bits wide on all of our platforms
  try {
    const count = new Uint32Array(1);
    if (vk.vkEnumeratePhysicalDevices(handle, count, null) !== 0) return [];
    const devices = new BigUint64Array(count[0] ?? 0);
    if (devices.length > 0) vk.vkEnumeratePhysicalDevices(handle, count, devices);
    return Array.from(devices.subarray(0, count[0]), (device) =>
      described((properties) => vk.vkGetPhysicalDeviceProperties2(device, properties)),
    );
  } finally {
    vk.vkDestroyInstance(handle, null);
  }
}

/**
 * Stays open: the session that is made next needs it, too. The C library opens it, since Bun's `dlopen` would take a file
 * of that name in the current folder as well, whoever put it there.
 */
function openLibrary() {
  const { symbols: c } = dlopen("libdl.so.2", {
    dlopen: { args: ["cstring", "i32"], returns: "ptr" },
    dlsym: { args: ["ptr", "cstring"], returns: "ptr" },
  });
  const handle = c.dlopen(Buffer.from(`${library}\0`), 2); // RTLD_NOW
  if (handle === null) throw new NoVulkan(`there is no Vulkan library (${library})`);
  const found = <T>(name: string, type: T) => {
    const address = c.dlsym(handle, Buffer.from(`${name}\0`));
    if (address === null) throw new NoVulkan(`the Vulkan library (${library}) is too old: it has no ${name}`);
    return { ...type, ptr: address };
  };
  return linkSymbols({
    vkCreateInstance: found("vkCreateInstance", { args: ["ptr", "ptr", "ptr"], returns: "i32" } as const),
    vkDestroyInstance: found("vkDestroyInstance", { args: ["u64", "ptr"], returns: "void" } as const),
    vkEnumeratePhysicalDevices: found("vkEnumeratePhysicalDevices", {
      args: ["u64", "ptr", "ptr"],
      returns: "i32",
    } as const),
    vkGetPhysicalDeviceProperties2: found("vkGetPhysicalDeviceProperties2", {
      args: ["u64", "ptr"],
      returns: "void",
    } as const),
  });
}

/**
 * VkInstanceCreateInfo, 64 bytes: sType 1 at 0, pApplicationInfo at 24; no layers, no extensions. After it, what that
 * points to, VkApplicationInfo: sType 0 at 0, apiVersion at 44. In one piece, so that nothing is collected too early.
 */
function instanceRequest(): Uint8Array {
  const bytes = new Uint8Array(64 + 48);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 1, true);
  view.setBigUint64(24, BigInt(ptr(bytes)) + 64n, true);
  view.setUint32(64 + 44, (1 << 22) | (1 << 12), true); // Vulkan 1.1, for vkGetPhysicalDeviceProperties2
  return bytes;
}

/**
 * VkPhysicalDeviceProperties2, 840 bytes: sType at 0, pNext at 8, and at 16 VkPhysicalDeviceProperties: driverVersion at 4,
 * deviceType at 16, deviceName at 20. After it, what pNext points to, VkPhysicalDeviceDriverProperties, 536 bytes: sType
 * at 0, driverName at 20, driverInfo at 276; both stay empty before Vulkan 1.2.
 */
function described(fill: (properties: Uint8Array) => void): Adapter {
  const bytes = new Uint8Array(840 + 536);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 1_000_059_001, true);
  view.setBigUint64(8, BigInt(ptr(bytes)) + 840n, true);
  view.setUint32(840, 1_000_196_000, true);
  fill(bytes);
  return {
    name: text(bytes.subarray(16 + 20)),
    kind: kinds[view.getUint32(16 + 16, true)] ?? "other",
    backend: "Vulkan",
    driver: driverOf(text(bytes.subarray(840 + 20)), text(bytes.subarray(840 + 276)), view.getUint32(16 + 4, true)),
  };
}

/** By VkPhysicalDeviceType. */
const kinds: readonly AdapterKind[] = ["other", "integrated", "discrete", "virtual", "software"];

/** A string of at most 256 bytes that ends with 0. */
function text(bytes: Uint8Array): string {
  const end = bytes.subarray(0, 256).indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? 256 : end));
}

/** "radv Mesa 24.2.8"; a version number, as Vulkan packs them, of a driver without a name. */
function driverOf(name: string, info: string, version: number): string {
  const packed = `${version >>> 22}.${(version >>> 12) & 0x3ff}.${version & 0xfff}`;
  return [name, info || packed].filter((part) => part !== "").join(" ");
}

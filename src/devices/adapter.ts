/** A GPU, or what passes for one, as a driver describes it. */
export interface Adapter {
  /** For example "AMD Radeon RX 7900 XTX (RADV NAVI31)". */
  name: string;
  kind: AdapterKind;
  /** The interface through which it is used. */
  backend: "Vulkan" | "Metal";
  /** Name and version. */
  driver: string;
}

/** "software": the processor computes what a GPU would. */
export type AdapterKind = "discrete" | "integrated" | "virtual" | "software" | "other";

/** An adapter, and whether a model can run on it. */
export interface TriedAdapter extends Adapter {
  /** Why it can't be used; null when it can. */
  problem: string | null;
}

/**
 * Dawn's order, within ONNX Runtime, when a driver has several adapters (`SortAdapters` with power preference "high
 * performance"); and ours between drivers.
 */
const preference: readonly AdapterKind[] = ["discrete", "integrated", "software", "virtual", "other"];

/** Those that are taken first come first; equals keep their order. */
export function byPreference<T extends Adapter>(adapters: readonly T[]): T[] {
  return adapters.toSorted((a, b) => preference.indexOf(a.kind) - preference.indexOf(b.kind));
}

/** For people: "AMD Radeon RX 7900 XTX (RADV NAVI31), Vulkan, radv Mesa 24.2.8". */
export function describeAdapter({ name, backend, driver }: Adapter): string {
  return `${name}, ${backend}, ${driver}`;
}

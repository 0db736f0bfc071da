/** The GPUs of this machine, each tried; and the one that a server takes. */

import { type AdapterKind, byPreference, type TriedAdapter } from "./adapter.ts";
import { driverManifests } from "./manifests.ts";
import { anyDriver, type Trial } from "./trial.ts";

/** An adapter that was tried, and how to get it again. */
export interface FoundAdapter extends TriedAdapter {
  /** Manifest of its Vulkan driver; absent where there is none to choose. */
  manifest?: string;
}

export interface Found {
  /** First those that can be used, the preferred one first. */
  adapters: FoundAdapter[];
  /** Why none can be used, and what to do; null when one can. */
  problem: string | null;
}

/**
 * @param kakeya how this process starts another one
 * @param limitS longest time that a driver may take; shaders that are compiled for the first time take seconds
 */
export async function findAdapters(kakeya: readonly string[], limitS = 60): Promise<Found> {
  const manifests = process.platform === "linux" ? driverManifests() : [];
  // Where we find no manifest the Vulkan library may: some systems keep them elsewhere.
  const drivers = manifests.length > 0 ? manifests : [anyDriver];
  const trials = await Promise.all(drivers.map((manifest) => tried(kakeya, manifest, limitS)));
  const adapters = trials.flatMap((trial, i) => {
    const manifest = manifests[i];
    return trial.adapters.map((adapter) => ({ ...adapter, ...(manifest === undefined ? {} : { manifest }) }));
  });
  const [usable, others] = [adapters.filter(isUsable), adapters.filter((adapter) => !isUsable(adapter))];
  return {
    adapters: [...byPreference(usable), ...others],
    problem: usable.length > 0 ? null : `${reasons(trials, others)}: ${advice(trials, others)}`,
  };
}

const isUsable = ({ problem }: TriedAdapter) => problem === null;

function reasons(trials: readonly Trial[], adapters: readonly TriedAdapter[]): string {
  if (adapters.length > 0) return adapters.map(({ name, problem }) => `${name} can't be used (${problem})`).join("; ");
  const problems = trials.flatMap(({ problem }) => (problem === null ? [] : [problem]));
  return [...new Set(problems)].join("; ") || "there is no GPU";
}

function advice(trials: readonly Trial[], adapters: readonly TriedAdapter[]): string {
  if (process.platform !== "linux" || process.arch !== "x64") return "use --device cpu";
  if (adapters.length > 0) return "a newer driver may help; or use --device cpu";
  const hasLibrary = !trials.some(({ problem }) => problem?.includes("Vulkan library"));
  const packages = hasLibrary ? "mesa-vulkan-drivers" : "libvulkan1 and mesa-vulkan-drivers";
  return `install the GPU's Vulkan driver (Debian, Ubuntu: ${packages}; NVIDIA's own brings it), or use --device cpu`;
}

/** What `kakeya devices --driver MANIFEST --json` says, in a process that the driver may take along. */
async function tried(kakeya: readonly string[], manifest: string, limitS: number): Promise<Trial> {
  const child = Bun.spawn([...kakeya, "devices", "--driver", manifest, "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: limitS * 1000,
    killSignal: "SIGKILL",
  });
  // A driver that hangs must not outlive us.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const [output, said] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  process.off("exit", kill);
  if (code === 0) return whyOf(JSON.parse(lastLine(output)) as Trial, said);
  const how = child.signalCode === null ? `ended with code ${code}` : `was ended by ${child.signalCode}`;
  const hung = child.signalCode === "SIGKILL" ? `, after ${limitS} s at most` : "";
  const problem = `trying it ${how}${hung}${said.trim() === "" ? "" : `: ${lastLine(said)}`}`;
  return { adapters: [unknown(manifest, problem)], problem: null };
}

/** A driver that crashed or hung said nothing of its adapters. */
function unknown(manifest: string, problem: string): TriedAdapter {
  const kind: AdapterKind = "other";
  const backend = process.platform === "darwin" ? "Metal" : "Vulkan";
  return { name: "unknown", kind, backend, driver: manifest, problem };
}

/** Dawn says on stderr why it passes over an adapter; ONNX Runtime's error says only that none was left. */
function whyOf(trial: Trial, said: string): Trial {
  const why = /^Warning: (.*)\n - While initializing adapter/m.exec(said)?.[1];
  if (why === undefined) return trial;
  const explained = (problem: string | null) => problem && `WebGPU refuses it: ${why.replace(/\.$/, "")}`;
  return { ...trial, adapters: trial.adapters.map((each) => ({ ...each, problem: explained(each.problem) })) };
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

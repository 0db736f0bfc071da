/**
 * A GPU for tests: the first that `kakeya devices` can use here, or SwiftShader, which comes with Chromium and computes on
 * the processor. Where there is neither, tests that need one are skipped, and say so by their names.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

const chromium = "/usr/lib/chromium";
const manifest = join(chromium, "vk_swiftshader_icd.json");

/** Added to a process's environment, they lead it to SwiftShader; chromium brings a Vulkan library, too. */
const swiftShader = { VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest, LD_LIBRARY_PATH: chromium };

const environment: Record<string, string> = existsSync(manifest) ? swiftShader : {};
const main = join(import.meta.dir, "../../src/main.ts");
const listed = Bun.spawnSync([process.execPath, main, "devices", "--json"], {
  env: { ...process.env, ...environment },
});
const { gpus } = JSON.parse(listed.stdout.toString()) as { gpus: { name: string; usable: boolean }[] };
const usable = gpus.find((gpu) => gpu.usable);

/** What a process needs in its environment to run on the adapter; undefined where there is none. */
export const adapterEnvironment = usable === undefined ? undefined : environment;

/** For the name of a group of tests. */
export const onAdapter =
  usable === undefined ? "on a GPU (skipped: there is none that can be used)" : `on ${usable.name}`;

import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Whether the layer can be had here: it is compiled for each test. */
export const hasCompiler = process.platform === "linux" && Bun.which("cc") !== null;

export interface LosingLayer {
  /** Added to a process's environment, it puts the layer between the process and its GPU. */
  environment: Record<string, string>;
  /** From here on the device is lost, as after a driver's reset. */
  lose(): void;
  isLost(): boolean;
  /** For processes that start later. */
  restore(): void;
}

/** Compiles losing-layer.c into `dir`. */
export function losingLayer(dir: string): LosingLayer {
  const [library, when] = [join(dir, "liblosing.so"), join(dir, "lost")];
  const source = join(import.meta.dir, "losing-layer.c");
  const compiled = Bun.spawnSync(["cc", "-shared", "-fPIC", "-o", library, source], { stderr: "pipe" });
  if (compiled.exitCode !== 0) throw new Error(`the layer does not compile:\n${compiled.stderr}`);
  const name = "VK_LAYER_KAKEYA_losing";
  const layer = { name, type: "GLOBAL", library_path: library, api_version: "1.1.0", implementation_version: "1" };
  const manifest = { file_format_version: "1.1.2", layer: { ...layer, description: "loses the device" } };
  writeFileSync(join(dir, "losing.json"), JSON.stringify(manifest));
  return {
    environment: { VK_LAYER_PATH: dir, VK_INSTANCE_LAYERS: name, LOSE_DEVICE_WHEN: when },
    lose: () => writeFileSync(when, ""),
    isLost: () => existsSync(when),
    restore: () => rmSync(when, { force: true }),
  };
}

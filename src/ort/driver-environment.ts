import { join } from "node:path";
import { cacheRoot, privateDir } from "../cache/folder.ts";
import { setInCEnvironment } from "./c-environment.ts";

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Tells the drivers of GPUs where to write, before the first of them is loaded. To be called in the process that loads
 * them; once is enough, and more do no harm.
 *
 * @param manifest the file that describes the one Vulkan driver to load; absent: all that the Vulkan library finds
 */
export function setDriverEnvironment(manifest?: string): void {
  if (process.platform !== "linux") return; // Metal keeps its shaders where macOS says
  const drivers = privateDir(join(cacheRoot(), "drivers"));
  setInCEnvironment({ ...driverFolders(drivers, process.env), ...(manifest ? onlyDriver(manifest) : {}) });
  if (!process.env.XDG_RUNTIME_DIR) privateDir(join(drivers, "runtime"));
}

/**
 * Where Mesa's, AMD's and NVIDIA's drivers keep compiled shaders; a place that the user chose stays. Not XDG_CACHE_HOME, which
 * all of them know: a worker that starts later takes its `process.env` from the C environment, and would look for our own
 * cache there. Without an XDG_RUNTIME_DIR, as in a service, Mesa's layer that chooses a device complains on stderr at every
 * start; it looks there for a compositor, and in an empty folder finds none.
 */
export function driverFolders(dir: string, env: Env): Record<string, string> {
  const folders = {
    MESA_SHADER_CACHE_DIR: dir,
    AMD_SHADER_DISK_CACHE_PATH: dir,
    __GL_SHADER_DISK_CACHE_PATH: dir,
    XDG_RUNTIME_DIR: join(dir, "runtime"),
  };
  return Object.fromEntries(Object.entries(folders).filter(([name]) => !env[name]));
}

/** The name since Vulkan's loader 1.3.207, and the one before. */
function onlyDriver(manifest: string): Record<string, string> {
  return { VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest };
}

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
 * Mesa's and AMD's drivers keep compiled shaders below XDG_CACHE_HOME, NVIDIA's in the second. A place that the user chose
 * for one of them by the driver's own variable (MESA_SHADER_CACHE_DIR, AMD_SHADER_DISK_CACHE_PATH) stays. Without an
 * XDG_RUNTIME_DIR, as in a service, Mesa's layer that chooses a device complains on stderr at every start; it looks there
 * for a compositor, and in an empty folder finds none.
 */
export function driverFolders(dir: string, env: Env): Record<string, string> {
  return {
    XDG_CACHE_HOME: dir,
    ...(env.__GL_SHADER_DISK_CACHE_PATH ? {} : { __GL_SHADER_DISK_CACHE_PATH: dir }),
    ...(env.XDG_RUNTIME_DIR ? {} : { XDG_RUNTIME_DIR: join(dir, "runtime") }),
  };
}

/** The name since Vulkan's loader 1.3.207, and the one before. */
function onlyDriver(manifest: string): Record<string, string> {
  return { VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest };
}

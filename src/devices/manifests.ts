import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The files that describe this machine's Vulkan drivers, in the order in which the Vulkan loader looks for them
 * (LoaderDriverInterface.md, "Driver Discovery"). It loads all of them; here each can be tried by itself.
 *
 * @param root of the file system; a test has its own
 */
export function driverManifests(env: Env = process.env, root = "/"): string[] {
  const chosen = env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES;
  if (chosen) return manifestsIn(chosen.split(delimiter));
  const home = env.HOME || homedir();
  const bases = [
    env.XDG_CONFIG_HOME || join(home, ".config"),
    ...list(env.XDG_CONFIG_DIRS, [join(root, "etc/xdg")]),
    join(root, "etc"),
    env.XDG_DATA_HOME || join(home, ".local/share"),
    ...list(env.XDG_DATA_DIRS, [join(root, "usr/local/share"), join(root, "usr/share")]),
  ];
  const added = (env.VK_ADD_DRIVER_FILES ?? "").split(delimiter).filter((path) => path !== "");
  return manifestsIn([...added, ...bases.map((base) => join(base, "vulkan/icd.d"))]);
}

function list(value: string | undefined, otherwise: string[]): string[] {
  return value ? value.split(delimiter).filter((path) => path !== "") : otherwise;
}

/** The manifests among `paths`, and those in the folders among them; each once. */
function manifestsIn(paths: readonly string[]): string[] {
  const found = paths.flatMap((path) => (path.endsWith(".json") ? [path] : inFolder(path)));
  return [...new Set(found)];
}

function inFolder(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith(".json"))
      .sort()
      .map((name) => join(dir, name));
  } catch {
    return []; // not there
  }
}

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { driverManifests } from "../../src/devices/manifests.ts";
import { scratchDir } from "../scratch.ts";

/** A file system with `paths`, each an empty file. */
function holding(root: string, paths: readonly string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), "");
  }
}

test("drivers are found where the Vulkan library looks for them, in its order, each once", () => {
  using scratch = scratchDir();
  holding(scratch.path, [
    "usr/share/vulkan/icd.d/radeon_icd.json",
    "usr/share/vulkan/icd.d/intel_icd.json",
    "usr/share/vulkan/icd.d/README",
    "etc/vulkan/icd.d/nvidia_icd.json",
    "home/.local/share/vulkan/icd.d/own.json",
    "home/.config/vulkan/icd.d/first.json",
    "more/vulkan/icd.d/never.json",
  ]);
  const env = { HOME: join(scratch.path, "home") };
  const found = (more: Record<string, string>) =>
    driverManifests({ ...env, ...more }, scratch.path).map((path) => path.slice(scratch.path.length + 1));
  const usual = [
    "home/.config/vulkan/icd.d/first.json",
    "etc/vulkan/icd.d/nvidia_icd.json",
    "home/.local/share/vulkan/icd.d/own.json",
    "usr/share/vulkan/icd.d/intel_icd.json",
    "usr/share/vulkan/icd.d/radeon_icd.json",
  ];
  expect(found({})).toEqual(usual);
  expect(found({ XDG_DATA_DIRS: join(scratch.path, "more"), XDG_CONFIG_DIRS: "" })).toEqual([
    ...usual.slice(0, 3),
    "more/vulkan/icd.d/never.json",
  ]);
  expect(found({ VK_ADD_DRIVER_FILES: join(scratch.path, "usr/share/vulkan/icd.d/radeon_icd.json") })).toEqual([
    "usr/share/vulkan/icd.d/radeon_icd.json",
    ...usual.slice(0, 4),
  ]);
});

test("drivers that the user chose are the only ones, whether as files or as folders", () => {
  using scratch = scratchDir();
  holding(scratch.path, ["a/x.json", "a/y.json", "usr/share/vulkan/icd.d/radeon_icd.json"]);
  const [x, y] = [join(scratch.path, "a/x.json"), join(scratch.path, "a/y.json")];
  expect(driverManifests({ VK_DRIVER_FILES: `${y}:${x}`, VK_ICD_FILENAMES: "/other.json" }, scratch.path)).toEqual([
    y,
    x,
  ]);
  expect(driverManifests({ VK_ICD_FILENAMES: join(scratch.path, "a") }, scratch.path)).toEqual([x, y]);
});

import { expect, test } from "bun:test";
import { cacheRoots } from "../../src/cache/folder.ts";
import { driverFolders } from "../../src/ort/driver-environment.ts";

test("drivers are told a folder for all that they keep, but for what the user chose", () => {
  const told = driverFolders("/cache/drivers", {});
  expect(Object.values(told).every((path) => path.startsWith("/cache/drivers"))).toBe(true);
  expect(told.XDG_RUNTIME_DIR).toBe("/cache/drivers/runtime");
  for (const name of Object.keys(told)) {
    const { [name]: _, ...others } = told;
    expect(driverFolders("/cache/drivers", { [name]: "/chosen" })).toEqual(others);
  }
});

test("what drivers are told does not move kakeya's own cache", () => {
  for (const env of [{ HOME: "/home/a" }, { HOME: "/home/a", XDG_CACHE_HOME: "/b" }, { KAKEYA_CACHE_DIR: "/c" }]) {
    expect(cacheRoots({ ...env, ...driverFolders("/x", env) })).toEqual(cacheRoots(env));
  }
});

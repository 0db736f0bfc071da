import { expect, test } from "bun:test";
import { adaptersOf } from "../../src/devices/mac.ts";

test("a Mac's GPU is what the system profiler says", () => {
  const profile = JSON.stringify({
    SPDisplaysDataType: [
      {
        _name: "Apple M4",
        spdisplays_mtlgpufamilysupport: "spdisplays_metal3",
        sppci_bus: "spdisplays_builtin",
        sppci_cores: "10",
        sppci_device_type: "spdisplays_gpu",
        sppci_model: "Apple M4",
      },
    ],
  });
  expect(adaptersOf(profile, "macOS 15.1")).toEqual([
    { name: "Apple M4 (10 cores)", kind: "integrated", backend: "Metal", driver: "macOS 15.1" },
  ]);
  expect(adaptersOf("{}", "macOS 15.1")).toEqual([]);
});

import { spawnSync } from "node:child_process";
import type { Adapter } from "./adapter.ts";

/** The GPUs of a Mac; their driver is part of macOS. */
export function macAdapters(): Adapter[] {
  const profile = spawnSync("/usr/sbin/system_profiler", ["SPDisplaysDataType", "-json"], { encoding: "utf8" });
  const version = spawnSync("/usr/bin/sw_vers", ["-productVersion"], { encoding: "utf8" });
  if (profile.status !== 0) throw new Error(`system_profiler can't list the GPUs: ${profile.stderr || profile.error}`);
  return adaptersOf(profile.stdout, `macOS ${version.stdout.trim()}`);
}

/** @param profile what `system_profiler SPDisplaysDataType -json` prints: an entry for each GPU */
export function adaptersOf(profile: string, driver: string): Adapter[] {
  const { SPDisplaysDataType: entries = [] } = JSON.parse(profile) as { SPDisplaysDataType?: Entry[] };
  return entries.map(({ sppci_model, _name, sppci_cores, sppci_bus }) => ({
    name: `${sppci_model ?? _name ?? "GPU"}${sppci_cores === undefined ? "" : ` (${sppci_cores} cores)`}`,
    kind: sppci_bus === undefined || sppci_bus === "spdisplays_builtin" ? "integrated" : "discrete",
    backend: "Metal",
    driver,
  }));
}

interface Entry {
  _name?: string;
  /** "Apple M4". */
  sppci_model?: string;
  /** "10". */
  sppci_cores?: string;
  /** "spdisplays_builtin" for Apple's own. */
  sppci_bus?: string;
}

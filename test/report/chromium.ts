import { spawnSync } from "node:child_process";

const names = ["chromium", "chromium-browser", "google-chrome"];

/**
 * The path of a Chromium, installed from the system's packages when this is root on a machine that has apt-get; null
 * when there is none, after saying so.
 */
export function chromium(): string | null {
  const installed = onPath();
  if (installed !== null) return installed;
  if (process.getuid?.() === 0 && Bun.which("apt-get")) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    spawnSync("apt-get", ["update"], { env });
    spawnSync("apt-get", ["install", "--yes", "--no-install-recommends", "chromium"], { env });
  }
  const found = onPath();
  if (found === null)
    console.warn(`skipped: no ${names.join(", ")} on PATH; apt-get install chromium to run this test`);
  return found;
}

function onPath(): string | null {
  return names.map((name) => Bun.which(name)).find((path) => path !== null) ?? null;
}

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { platforms } from "../../build/executable.ts";
import { executableAt } from "./executable-at.ts";

/** Away from the repository: no node_modules in reach, a HOME with nothing in it. */
const away = fs.mkdtempSync(join(tmpdir(), "kakeya-executable-"));
const kakeya = join(away, "kakeya");

beforeAll(() => executableAt(kakeya));
afterAll(() => fs.rmSync(away, { recursive: true, force: true }));

/** Linux lets a process mount in a namespace of its own, unless it is told not to. */
const ownMounts = ["--mount", "--map-root-user"];
const canMount =
  Bun.which("unshare") !== null &&
  Bun.spawnSync(["unshare", ...ownMounts, "mount", "-t", "tmpfs", "tmpfs", tmpdir()]).exitCode === 0;

let folders = 0;
function folder(): string {
  const path = join(away, `folder-${folders++}`);
  fs.mkdirSync(path, { mode: 0o700 });
  return path;
}

interface Place {
  home?: string;
  tmp?: string;
  cwd?: string;
  env?: Record<string, string>;
  /** What is run in the executable's stead. */
  command?: string;
}

/** Runs the executable with nothing in its environment but what is given; its standard input ends at its first word. */
async function run(args: string[], place: Place = {}) {
  const { home = folder(), tmp = folder(), cwd = folder(), env = {}, command = kakeya } = place;
  const child = Bun.spawn([command, ...args], {
    cwd,
    env: { HOME: home, TMPDIR: tmp, ...env },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const errors = new Response(child.stderr).text();
  let out = "";
  for await (const chunk of child.stdout) {
    out += Buffer.from(chunk).toString();
    child.stdin.end();
  }
  return { code: await child.exited, out, err: await errors, home, tmp, cwd };
}

/** Loads everything, says where it serves, and ends. */
const serveOnce = ["serve", "--bind", "127.0.0.1:0", "--http", "off", "--stop-with-stdin"];
const served = { code: 0, out: expect.stringContaining("127.0.0.1:") };

/** Every file below `dir`. */
function filesOf(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

describe("the executable, by itself in an empty folder", () => {
  test("runs a smoke: the main job, on the embedded model", async () => {
    const { code, out, cwd, tmp } = await run(["smoke", "--duration", "5", "--kill", "1", "--json"]);
    const { gates } = JSON.parse(out);
    for (const counted of ["memory", "work", "invariants", "errors"]) expect(gates[counted].verdict).toBe("pass");
    // A clock may be noisy here; the code says what the report says.
    expect(code).toBe(gates.latency.verdict === "fail" ? 3 : 0);
    expect(fs.readdirSync(join(cwd, "results")).some((name) => name.endsWith(".json"))).toBe(true);
    // No telemetry database, no log, nothing that was unpacked to the wrong place.
    expect(fs.readdirSync(tmp)).toEqual([]);
  });

  test("a second start unpacks nothing", async () => {
    const { home } = await run(serveOnce);
    const inodes = () => filesOf(home).map((file) => [file, fs.statSync(file).ino]);
    const before = inodes();
    expect(before.length).toBeGreaterThan(5);
    expect(await run(serveOnce, { home })).toMatchObject(served);
    expect(inodes()).toEqual(before);
  });

  test("first starts at the same time don't disturb each other", async () => {
    const home = folder();
    const starts = await Promise.all([1, 2, 3, 4].map(() => run(serveOnce, { home })));
    for (const start of starts) expect(start).toMatchObject(served);
    expect(filesOf(home).filter((file) => file.includes("part"))).toEqual([]);
  });

  test("whatever happened to a file of its cache, the next start mends it", async () => {
    const { home } = await run(serveOnce);
    const damages: ((file: string) => void)[] = [
      (file) => fs.truncateSync(file, Math.floor(fs.statSync(file).size / 2)),
      (file) => fs.writeFileSync(file, "garbage"),
      (file) => fs.rmSync(file),
      (file) => {
        const bytes = fs.readFileSync(file);
        bytes.fill(0, bytes.length >> 1);
        fs.writeFileSync(file, bytes);
      },
    ];
    for (const damage of damages) {
      for (const file of filesOf(join(home, ".cache/kakeya"))) damage(file);
      expect(await run(serveOnce, { home })).toMatchObject(served);
    }
  });

  test("takes nothing from the folder it is started in", async () => {
    const cwd = folder();
    fs.writeFileSync(join(cwd, ".env"), "KAKEYA_CACHE_DIR=/proc\nKAKEYA_TOKEN=planted\n");
    fs.writeFileSync(join(cwd, "bunfig.toml"), 'preload = ["./planted.ts"]\n');
    fs.writeFileSync(join(cwd, "planted.ts"), 'throw new Error("planted");\n');
    for (const name of ["long", "onnxruntime-node", "protobufjs"]) {
      const dir = join(cwd, "node_modules", name);
      fs.mkdirSync(dir, { recursive: true });
      fs.writeFileSync(join(dir, "index.js"), 'throw new Error("planted");\n');
    }
    const { err, ...rest } = await run(serveOnce, { cwd });
    expect(rest).toMatchObject(served);
    expect(err).not.toContain("planted");
  });

  test("a home that can't be written to: the temporary folder serves", async () => {
    const { tmp, ...rest } = await run(serveOnce, { home: "/proc" });
    expect(rest).toMatchObject(served);
    expect(fs.readdirSync(tmp)).toEqual([`kakeya-${process.getuid?.()}`]);
  });

  test.if(canMount)("a home that libraries can't be loaded from: they are unpacked elsewhere", async () => {
    const [home, tmp] = [folder(), folder()];
    const mount = ["-c", 'mount -t tmpfs -o noexec,size=300m tmpfs "$HOME" && exec "$0" "$@"', kakeya];
    const ended = await run([...ownMounts, "sh", ...mount, ...serveOnce], { home, tmp, command: "unshare" });
    expect(ended).toMatchObject(served);
    expect(filesOf(tmp).some((file) => file.endsWith("onnxruntime_binding.node"))).toBe(true);
  });

  test("a cache folder that was named and does not do: an error that says what would", async () => {
    const { code, err } = await run(serveOnce, { env: { KAKEYA_CACHE_DIR: "/proc/kakeya" } });
    expect(code).toBe(1);
    // Nothing but the message: no stack, no line of code.
    const lines = err.split("\n").filter((line) => line.startsWith("kakeya: ") || line.startsWith("  "));
    expect(lines).toEqual([
      expect.stringContaining("set KAKEYA_CACHE_DIR to a folder that only you can write to"),
      expect.stringMatching(/^ {2}\/proc\/kakeya: ENOENT/),
    ]);
  });

  test("a folder in the cache's place that others can write to is not trusted", async () => {
    const [home, tmp] = [folder(), folder()];
    fs.mkdirSync(join(home, ".cache/kakeya"), { recursive: true });
    fs.chmodSync(join(home, ".cache/kakeya"), 0o777);
    expect(await run(serveOnce, { home, tmp })).toMatchObject(served);
    expect(filesOf(home)).toEqual([]);
  });
});

test("a target that there is none for is refused, with those that there are", () => {
  const build = Bun.spawnSync([process.execPath, "build.ts", "--target", "amiga"], {
    cwd: join(import.meta.dir, "../.."),
  });
  expect(build.exitCode).toBe(2);
  for (const name of Object.keys(platforms)) expect(build.stderr.toString()).toContain(name);
});

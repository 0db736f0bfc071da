import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { partPath } from "../../src/files/part.ts";

const root = resolve(import.meta.dir, "../..");
const scratch = fs.mkdtempSync(join(tmpdir(), "kakeya-launcher-"));
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

/** The tools of any POSIX system that the launcher uses; npm and bun are added by the tests. */
const tools = ["sh", "dirname", "readlink", "cmp", "find", "head", "mkdir", "cat", "rm", "sleep", "cp", "ln"];

/** A folder that serves as the whole PATH. */
function path(name: string, commands: Record<string, string | null>): string {
  const dir = join(scratch, name);
  fs.mkdirSync(dir);
  for (const [command, file] of Object.entries({
    ...Object.fromEntries(tools.map((t) => [t, Bun.which(t)])),
    ...commands,
  })) {
    if (file !== null) fs.symlinkSync(fs.realpathSync(file), join(dir, command));
  }
  return dir;
}

/** The repository as a clone has it: no node_modules, nothing built. */
function checkout(name: string): string {
  const dir = join(scratch, name);
  const files = Bun.spawnSync(["git", "ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root });
  for (const file of files.stdout.toString().trim().split("\n")) {
    if (!file.startsWith("results/") && fs.existsSync(join(root, file))) fs.cpSync(join(root, file), join(dir, file));
  }
  return dir;
}

/** The packages that this user's npm and bun have already are not fetched again; npm leaves the half that tests need. */
const installing = {
  npm_config_omit: "dev",
  npm_config_cache: process.env.npm_config_cache ?? join(homedir(), ".npm"),
  BUN_INSTALL_CACHE_DIR: process.env.BUN_INSTALL_CACHE_DIR ?? join(homedir(), ".bun/install/cache"),
};

async function launch(dir: string, PATH: string, args: string[]) {
  const home = join(scratch, `home-of-${PATH.split("/").at(-1)}`);
  fs.mkdirSync(home, { recursive: true });
  // From another folder, with nothing in the environment but a path, an empty home, and what installers need.
  const child = Bun.spawn([join(dir, "kakeya"), ...args], {
    cwd: home,
    env: { PATH, HOME: home, ...installing },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

const { version } = (await Bun.file(join(root, "package.json")).json()) as { version: string };
const quiet = { code: 0, out: `${version}\n`, err: "" };

test.if(Bun.which("npm") !== null && Bun.which("node") !== null)(
  "with npm alone, the first start installs and builds, and the second just runs",
  async () => {
    const [dir, npmOnly] = [checkout("by-npm"), path("npm-only", { npm: Bun.which("npm"), node: Bun.which("node") })];
    expect(await launch(dir, npmOnly, ["--version"])).toMatchObject({ code: 0, out: `${version}\n` });
    expect(await launch(dir, npmOnly, ["--version"])).toEqual(quiet);
  },
);

describe("with bun alone", () => {
  let dir: string;
  let bunOnly: string;
  beforeAll(() => {
    dir = checkout("by-bun");
    bunOnly = path("bun-only", { bun: process.execPath });
  });

  test("two first starts at once both run, and the next one just runs", async () => {
    const starts = await Promise.all([1, 2].map(() => launch(dir, bunOnly, ["--version"])));
    for (const start of starts) expect(start).toMatchObject({ code: 0, out: `${version}\n` });
    expect(await launch(dir, bunOnly, ["--version"])).toEqual(quiet);
  });

  test("a source that changed is built before the next start, by a link to the launcher as well", async () => {
    const manifest = join(dir, "package.json");
    fs.writeFileSync(
      manifest,
      fs.readFileSync(manifest, "utf8").replace(`"version": "${version}"`, '"version": "9.9.9"'),
    );
    fs.mkdirSync(join(scratch, "bin"));
    fs.symlinkSync(join(dir, "kakeya"), join(scratch, "bin/kakeya"));
    expect(await launch(join(scratch, "bin"), bunOnly, ["--version"])).toMatchObject({ code: 0, out: "9.9.9\n" });
  });

  test("what a killed build left is in dist/ alone, and goes at the next start; a live build's stays", async () => {
    const [inRoot, inDist] = [fs.readdirSync(dir), fs.readdirSync(join(dir, "dist"))];
    const build = Bun.spawn([join(dir, "node_modules/.bin/bun"), "build.ts"], {
      cwd: dir,
      stdio: ["ignore", "ignore", "ignore"],
    });
    const parts = () => fs.readdirSync(join(dir, "dist")).filter((name) => name.endsWith(".part"));
    // Killed when it writes: the executable is there, under Bun's name or its own.
    while (!parts().some((part) => fs.readdirSync(join(dir, "dist", part)).length > 0) && build.exitCode === null) {
      await Bun.sleep(1);
    }
    build.kill("SIGKILL");
    await build.exited;
    expect(parts()).toHaveLength(1);
    expect(fs.readdirSync(dir)).toEqual(inRoot);
    const live = partPath(join(dir, "dist/kakeya"));
    fs.writeFileSync(live, "half");
    expect(await launch(dir, bunOnly, ["--version"])).toMatchObject({ code: 0, out: "9.9.9\n" });
    expect(parts()).toEqual([basename(live)]);
    fs.rmSync(live);
    expect(fs.readdirSync(join(dir, "dist"))).toEqual(inDist);
  });

  test("what killed builds of earlier versions left goes, too, when an hour has passed", async () => {
    const left = [join(dir, "dist/kakeya.4711.part"), join(dir, ".1bdf7fedfefffeff-00000000.bun-build")];
    for (const file of left) fs.writeFileSync(file, "half");
    expect(await launch(dir, bunOnly, ["--version"])).toMatchObject({ code: 0, out: "9.9.9\n" });
    expect(left.map((file) => fs.existsSync(file))).toEqual([true, true]);
    for (const file of left) fs.utimesSync(file, 0, 0);
    expect(await launch(dir, bunOnly, ["--version"])).toMatchObject({ code: 0, out: "9.9.9\n" });
    expect(left.map((file) => fs.existsSync(file))).toEqual([false, false]);
  });

  test("it runs named tests and counts them", async () => {
    const { code, out } = await launch(dir, bunOnly, ["test", "test/kv/geometry.test.ts"]);
    expect(out.trimEnd().split("\n").at(-1)).toMatch(/^[1-9]\d* passed, 0 failed$/);
    expect(code).toBe(0);
  });

  test("a failing test is counted, and the code is 1", async () => {
    fs.writeFileSync(
      join(dir, "test/fails.test.ts"),
      'import { test } from "bun:test"; test("no", () => { throw 1; });\n',
    );
    const { code, out } = await launch(dir, bunOnly, ["test", "test/fails.test.ts"]);
    expect(out.trimEnd().split("\n").at(-1)).toBe("0 passed, 1 failed");
    expect(code).toBe(1);
  });
});

test("without either it says what is missing", async () => {
  const { code, err } = await launch(checkout("by-none"), path("none", {}), ["--version"]);
  expect(code).toBe(1);
  expect(err).toBe("kakeya: needs npm (https://nodejs.org) or bun (https://bun.sh) on the PATH\n");
});

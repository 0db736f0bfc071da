import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { scratchDir } from "../scratch.ts";

const launcher = resolve(import.meta.dir, "../../kakeya");

/** Takes bun's place: it notes when a build begins and ends, and builds an executable that says so. */
const builder = `#!/bin/sh
echo begin >> builds
sleep 0.1
printf '#!/bin/sh\\necho ran\\n' > dist/kakeya
chmod +x dist/kakeya
echo end >> builds
`;

/** A folder in which everything is installed, and nothing built. */
function installed(): ReturnType<typeof scratchDir> & { lock: string } {
  const scratch = scratchDir();
  const bin = join(scratch.path, "node_modules/.bin");
  for (const folder of [
    bin,
    ...["src", "commands", "build", "models", "dist"].map((name) => join(scratch.path, name)),
  ]) {
    fs.mkdirSync(folder, { recursive: true });
  }
  fs.writeFileSync(join(bin, "bun"), builder, { mode: 0o755 });
  for (const name of ["build.ts", "package.json", "package-lock.json", "node_modules/.installed"]) {
    fs.writeFileSync(join(scratch.path, name), "");
  }
  fs.copyFileSync(launcher, join(scratch.path, "kakeya"));
  return { ...scratch, lock: join(scratch.path, "dist/.lock") };
}

const launch = (folder: string) =>
  Bun.spawn([join(folder, "kakeya")], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });

async function expectItRuns({ path, lock }: { path: string; lock: string }): Promise<void> {
  const child = launch(path);
  expect(await new Response(child.stdout).text()).toBe("ran\n");
  expect(await new Response(child.stderr).text()).toBe("");
  expect(fs.lstatSync(lock, { throwIfNoEntry: false })).toBeUndefined();
  expect(fs.readdirSync(join(path, "dist"))).toEqual(["kakeya"]);
}

const dead = String(Bun.spawnSync(["true"]).pid);

const leftLocks: Record<string, (lock: string) => void> = {
  "a dead process's": (lock) => fs.symlinkSync(dead, lock),
  "an empty folder": (lock) => fs.mkdirSync(lock),
  "a folder with a dead process's id": (lock) => {
    fs.mkdirSync(lock);
    fs.writeFileSync(join(lock, "pid"), `${dead}\n`);
  },
  "a folder with an empty file": (lock) => {
    fs.mkdirSync(lock);
    fs.writeFileSync(join(lock, "pid"), "");
  },
  "an empty file": (lock) => fs.writeFileSync(lock, ""),
};

test.each(Object.entries(leftLocks))("a lock that is left, %s, holds up nobody", async (_, leave) => {
  using folder = installed();
  leave(folder.lock);
  await expectItRuns(folder);
});

test("of many starts at once, beside a lock that was left, one builds and all run", async () => {
  using folder = installed();
  fs.symlinkSync(dead, folder.lock);
  const starts = Array.from({ length: 8 }, () => launch(folder.path));
  const outputs = await Promise.all(starts.map((child) => new Response(child.stdout).text()));
  expect(outputs).toEqual(starts.map(() => "ran\n"));
  expect(fs.readFileSync(join(folder.path, "builds"), "utf8")).toBe("begin\nend\n");
});

test("a live process's lock is waited for, and the wait says whose it is", async () => {
  using folder = installed();
  fs.symlinkSync(String(process.pid), folder.lock);
  const child = launch(folder.path);
  const { value } = await child.stderr.getReader().read();
  expect(new TextDecoder().decode(value)).toContain(`waiting for process ${process.pid} `);
  expect(fs.existsSync(join(folder.path, "builds"))).toBe(false);
  fs.unlinkSync(folder.lock);
  expect(await new Response(child.stdout).text()).toBe("ran\n");
});

test("a start that is told to stop takes its lock along", async () => {
  using folder = installed();
  fs.writeFileSync(join(folder.path, "node_modules/.bin/bun"), "#!/bin/sh\necho begin >> builds\nsleep 1\n");
  const child = launch(folder.path);
  while (!fs.existsSync(join(folder.path, "builds"))) await Bun.sleep(5);
  expect(fs.readlinkSync(folder.lock)).toBe(String(child.pid));
  child.kill("SIGTERM");
  expect(await child.exited).toBe(130);
  expect(fs.lstatSync(folder.lock, { throwIfNoEntry: false })).toBeUndefined();
});

import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { embeddedModelDir } from "../../src/checkpoint/embedded.ts";
import { resolveModel } from "../../src/checkpoint/resolve.ts";
import { scratchDir } from "../scratch.ts";

/** Writes a hub cache that holds Qwen/Qwen3-0.6B at commit "abc", and one older commit. Returns the snapshot. */
function writeHub(hub: string, id = "Qwen/Qwen3-0.6B", commit = "abc"): string {
  const folder = join(hub, `models--${id.replace("/", "--")}`);
  for (const sha of ["old", commit]) {
    mkdirSync(join(folder, "snapshots", sha), { recursive: true });
    writeFileSync(join(folder, "snapshots", sha, "config.json"), "{}");
  }
  mkdirSync(join(folder, "refs"));
  writeFileSync(join(folder, "refs", "main"), `${commit}\n`);
  return join(folder, "snapshots", commit);
}

const id = "Qwen/Qwen3-0.6B";

describe("A model", () => {
  test("that nobody named is the embedded one", () => {
    expect(resolveModel(undefined, {})).toEqual({ dir: embeddedModelDir(), modelId: "kakeya-tiny" });
  });

  test("named by a directory is that directory, called by its last name", () => {
    using scratch = scratchDir();
    const dir = join(scratch.path, "my-model");
    mkdirSync(dir);
    expect(resolveModel(dir, {})).toEqual({ dir, modelId: "my-model" });
    expect(resolveModel(`${dir}/../my-model/`, {})).toEqual({ dir, modelId: "my-model" });
  });

  test.each([
    ["HF_HUB_CACHE", (home: string) => ({ HF_HUB_CACHE: join(home, "hub") })],
    ["HF_HOME", (home: string) => ({ HF_HOME: home })],
    ["XDG_CACHE_HOME", (home: string) => ({ XDG_CACHE_HOME: join(home, "..") })],
    ["HOME", (home: string) => ({ HOME: join(home, "../..") })],
  ])("named by a hub id is the snapshot of refs/main, found by %s", (_, environment) => {
    using scratch = scratchDir();
    const home = join(scratch.path, ".cache", "huggingface");
    const snapshot = writeHub(join(home, "hub"));
    expect(resolveModel(id, environment(home))).toEqual({ dir: snapshot, modelId: id });
  });

  test("is looked for in HF_HUB_CACHE before HF_HOME, and in HF_HOME before the home directory", () => {
    using scratch = scratchDir();
    const [hub, home, user] = ["a", "b", "c"].map((name) => join(scratch.path, name));
    const env = { HF_HUB_CACHE: hub, HF_HOME: home, HOME: user };
    const inUser = writeHub(join(user ?? "", ".cache/huggingface/hub"));
    expect(resolveModel(id, env).dir).toBe(inUser);
    const inHome = writeHub(join(home ?? "", "hub"));
    expect(resolveModel(id, env).dir).toBe(inHome);
    const inHub = writeHub(hub ?? "");
    expect(resolveModel(id, env).dir).toBe(inHub);
  });
});

test("A revision is found by its branch, its tag or its commit", () => {
  using scratch = scratchDir();
  const main = writeHub(scratch.path, id, "1".repeat(40));
  const folder = join(scratch.path, "models--Qwen--Qwen3-0.6B");
  mkdirSync(join(folder, "refs", "refs", "pr"), { recursive: true });
  for (const ref of ["v1.0", "refs/pr/7"]) writeFileSync(join(folder, "refs", ref), "old");
  const env = { HF_HUB_CACHE: scratch.path };
  expect(resolveModel(`${id}@main`, env).dir).toBe(main);
  expect(resolveModel(`${id}@v1.0`, env)).toEqual({ dir: join(folder, "snapshots", "old"), modelId: `${id}@v1.0` });
  expect(resolveModel(`${id}@refs/pr/7`, env).dir).toBe(join(folder, "snapshots", "old"));
  expect(resolveModel(`${id}@${"1".repeat(40)}`, env).dir).toBe(main);
  expect(() => resolveModel(`${id}@v2`, env)).toThrow(
    /^Qwen\/Qwen3-0\.6B@v2: .*looked for refs\/v2 in .*Fetch it first: kakeya pull Qwen\/Qwen3-0\.6B@v2\.$/,
  );
  expect(() => resolveModel(`${id}@${"2".repeat(40)}`, env)).toThrow(/looked for snapshots\/2{40} in/);
  expect(() => resolveModel(`${id}@../../x`, env)).toThrow("there is no such directory");
});

describe("A model is refused, with what to do, when", () => {
  test("its id is in no cache: the error lists them and the command that fetches it", () => {
    expect(() => resolveModel(id, { HF_HUB_CACHE: "/one", HF_HOME: "/two", HOME: "/three" })).toThrow(
      "Qwen/Qwen3-0.6B: is neither a directory nor in the local Hugging Face cache (looked for refs/main in " +
        "/one/models--Qwen--Qwen3-0.6B, /two/hub/models--Qwen--Qwen3-0.6B, " +
        "/three/.cache/huggingface/hub/models--Qwen--Qwen3-0.6B). Fetch it first: kakeya pull Qwen/Qwen3-0.6B.",
    );
  });

  test("its snapshot is not there", () => {
    using scratch = scratchDir();
    writeHub(scratch.path);
    writeFileSync(join(scratch.path, "models--Qwen--Qwen3-0.6B", "refs", "main"), "gone");
    expect(() => resolveModel(id, { HF_HUB_CACHE: scratch.path })).toThrow(
      /refs\/main: points at .*snapshots\/gone, which holds no config\.json\. Fetch it again: kakeya pull Qwen\/Qwen3-0\.6B\./,
    );
  });

  test.each(["./nowhere", "/nowhere/at/all", "a/b/c", "x/..", ""])("%p is no directory and no id", (path) => {
    expect(() => resolveModel(path, {})).toThrow(/there is no such directory\. Give a directory, or a Hugging Face id/);
  });

  test("it is a file", () => {
    expect(() => resolveModel(import.meta.path, {})).toThrow(/resolve\.test\.ts: is a file\. Give the directory/);
  });
});

import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import fc from "fast-check";
import { type PulledModel, pull } from "../../src/checkpoint/pull.ts";
import { resolveModel } from "../../src/checkpoint/resolve.ts";
import { openCheckpoint } from "../../src/checkpoint/safetensors.ts";
import { FileError } from "../../src/files/file-error.ts";
import { eventually } from "../eventually.ts";
import { deadPart } from "../files/dead-part.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { kakeya } from "../program.ts";
import { rejection } from "../rejection.ts";
import { scratchDir } from "../scratch.ts";
import { type Fault, gitHash, HubServer, type Request, sha256, tinyFiles } from "./hub-server.ts";

const id = "Qwen/Qwen3-0.6B";
const read = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
const weights = tinyFiles()["model.safetensors"] ?? new Uint8Array();

interface Place extends AsyncDisposable {
  hub: HubServer;
  env: Record<string, string>;
  folder: string;
  waits: number[];
  pull(name?: string): Promise<PulledModel>;
}

/** A hub, an empty cache, and a pull that does not wait between attempts. */
async function place(files?: Record<string, Uint8Array>, cache?: string): Promise<Place> {
  const scratch = scratchDir();
  const hub = await HubServer.start(files);
  const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache ?? join(scratch.path, "hub") };
  const waits: number[] = [];
  return {
    hub,
    env,
    waits,
    folder: join(env.HF_HUB_CACHE, "models--Qwen--Qwen3-0.6B"),
    pull: (name = id) => pull(name, { env, wait: async (failures) => void waits.push(failures) }),
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      scratch[Symbol.dispose]();
    },
  };
}

const isContent = ({ server, from }: Request) => server === "storage" && from !== undefined;

/** The fault for the first requests for contents of large files, one each; then none. */
function faults(...all: Fault[]): HubServer["fault"] {
  return (request) => (isContent(request) ? all.shift() : undefined);
}

describe("A pulled model", () => {
  test("lies in the cache as huggingface_hub lays it out, with the files that are read and no others", async () => {
    await using here = await place();
    const pulled = await here.pull();
    const snapshot = join(here.folder, "snapshots", HubServer.commit);
    expect(pulled).toMatchObject({ modelId: id, commit: HubServer.commit, dir: snapshot, files: read });
    expect(pulled.downloadedBytes).toBe(pulled.bytes);
    expect(readFileSync(join(here.folder, "refs/main"), "utf8")).toBe(HubServer.commit);
    expect(readdirSync(snapshot).sort()).toEqual([...read].sort());
    const config = here.hub.files["config.json"] ?? new Uint8Array();
    expect(readlinkSync(join(snapshot, "config.json"))).toBe(`../../blobs/${gitHash(config)}`);
    expect(readlinkSync(join(snapshot, "model.safetensors"))).toBe(`../../blobs/${sha256(weights)}`);
    for (const name of read)
      expect(readFileSync(join(snapshot, name)).equals(here.hub.files[name] ?? new Uint8Array())).toBe(true);
    expect(readdirSync(join(here.folder, "blobs"))).toHaveLength(read.length);

    const { dir } = resolveModel(id, here.env);
    expect(dir).toBe(snapshot);
    openCheckpoint(dir).close();
  });

  test("is not downloaded again, not even in part", async () => {
    await using here = await place();
    await here.pull();
    here.hub.requests.length = 0;
    expect((await here.pull()).downloadedBytes).toBe(0);
    expect(here.hub.requests.every(({ what }) => what === "info" || what === "tree")).toBe(true);
  });

  test("that moved on the hub costs what is new of it, and the old commit stays", async () => {
    await using here = await place();
    const before = await here.pull();
    here.hub.sha = "f".repeat(40);
    const config = { ...JSON.parse(new TextDecoder().decode(here.hub.files["config.json"])), changed: true };
    here.hub.files["config.json"] = new TextEncoder().encode(JSON.stringify(config));
    const after = await here.pull();
    expect(after.downloadedBytes).toBe(here.hub.files["config.json"].length);
    expect(resolveModel(id, here.env).dir).toBe(after.dir);
    expect(readFileSync(join(before.dir, "config.json"), "utf8")).not.toContain("changed");
    openCheckpoint(before.dir).close();
    openCheckpoint(after.dir).close();
  });

  test("may be pulled by several at once", async () => {
    await using here = await place();
    await Promise.all([here.pull(), here.pull(), here.pull()]);
    const { dir } = resolveModel(id, here.env);
    for (const name of read)
      expect(readFileSync(join(dir, name)).equals(here.hub.files[name] ?? new Uint8Array())).toBe(true);
    expect(readdirSync(dir)).toHaveLength(read.length);
    expect(readdirSync(join(here.folder, "blobs"))).toHaveLength(read.length);
  });

  test("of a revision has that name, and leaves main alone", async () => {
    await using here = await place();
    await here.pull(`${id}@refs/pr/1`);
    expect(readdirSync(join(here.folder, "refs"))).toEqual(["refs"]);
    expect(resolveModel(`${id}@refs/pr/1`, here.env).dir).toContain(HubServer.commit);
    await here.pull(`${id}@${HubServer.commit}`);
    expect(readdirSync(join(here.folder, "refs"))).toEqual(["refs"]);
    expect(() => resolveModel(id, here.env)).toThrow("kakeya pull");
  });

  test("in several files has those that its index names", async () => {
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const index = { weight_map: { a: shards[0], b: shards[1], c: shards[0] } };
    const { "model.safetensors": _, ...rest } = tinyFiles();
    const files = {
      ...rest,
      "model.safetensors.index.json": new TextEncoder().encode(JSON.stringify(index)),
      ...Object.fromEntries(shards.map((name) => [name, weights.slice(0, 5000 + name.length)])),
    };
    await using here = await place(files);
    expect((await here.pull()).files.slice(-2)).toEqual(shards);
    await using other = await place({ ...files, ...tinyFiles() });
    expect((await other.pull()).files).toEqual(read);
  });

  test("costs the token one origin: the storage that the hub sends us to does not see it", async () => {
    await using here = await place();
    here.env.HF_TOKEN = "hf_secret";
    await here.pull();
    for (const { server, token } of here.hub.requests)
      expect(token).toBe(server === "hub" ? "Bearer hf_secret" : undefined);
    expect(here.hub.requests.some(({ server }) => server === "storage")).toBe(true);
  });

  test("shows its progress: all that was missing, to the last byte", async () => {
    await using here = await place();
    const shown: { doneBytes: number; totalBytes: number }[] = [];
    await pull(id, { env: here.env, onProgress: (progress) => shown.push(progress) });
    expect(shown.at(-1)).toEqual({ doneBytes: weights.length, totalBytes: weights.length });
    const described = shown.filter(({ totalBytes }) => totalBytes !== weights.length);
    expect(described.at(-1)?.doneBytes).toBe(described.at(-1)?.totalBytes);
  });
});

describe("A broken connection", () => {
  test("is taken up again at the byte where it broke", async () => {
    await using here = await place();
    here.hub.fault = faults({ cutAfter: 1_000_000 }, { cutAfter: 2_000_000 });
    await here.pull();
    const [first, second = 0, third = 0, ...more] = here.hub.rangesOf("model.safetensors");
    expect(first).toBe(0);
    expect(second).toBeWithin(1, 1_000_001);
    expect(third).toBeWithin(second + 1, second + 2_000_001);
    expect(more).toEqual([]);
    expect(here.waits).toEqual([1, 1]);
    expect(readFileSync(join(resolveModel(id, here.env).dir, "model.safetensors")).equals(weights)).toBe(true);
  });

  test("at any places gives the same bytes", async () => {
    const small = weights.slice(0, 100_000);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 5 }), async (cuts) => {
        await using here = await place({ ...tinyFiles(), "model.safetensors": small });
        here.hub.fault = faults(...cuts.map((cutAfter) => ({ cutAfter })));
        const { dir } = await here.pull();
        expect(readFileSync(join(dir, "model.safetensors")).equals(small)).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  test("that stays broken ends the pull after five attempts in a row without a byte, and the next pull goes on", async () => {
    await using here = await place();
    here.hub.fault = (request) => (isContent(request) ? { cutAfter: 0 } : undefined);
    const error = await rejection(here.pull());
    expect(error.message).toMatch(
      /^Qwen\/Qwen3-0\.6B: http:.* could not be reached, or did not answer as it should \(.*pull again: it continues where it stopped/,
    );
    expect(here.waits).toEqual([1, 2, 3, 4, 5]);
    expect(existsSync(join(here.folder, "refs"))).toBe(false);
    here.hub.fault = () => undefined;
    await here.pull();
  });

  test("between a killed pull and the next one costs nothing that had come", async () => {
    await using here = await place();
    here.hub.fault = faults({ stallAfter: 3_000_000 });
    const child = Bun.spawn([...kakeya, "pull", id], {
      env: { ...process.env, ...here.env },
      stdio: ["ignore", "ignore", "ignore"],
    });
    const blobs = join(here.folder, "blobs");
    const partBytes = () =>
      (existsSync(blobs) ? readdirSync(blobs) : [])
        .filter((name) => name.endsWith(".part") && name.startsWith(sha256(weights)))
        .map((name) => statSync(join(blobs, name)).size)[0] ?? 0;
    const size = await eventually("most of the weights", () => (partBytes() > 2_900_000 ? partBytes() : undefined));
    child.kill("SIGKILL");
    await child.exited;
    expect(() => resolveModel(id, here.env)).toThrow("Fetch it first");

    here.hub.requests.length = 0;
    const { downloadedBytes, dir } = await here.pull();
    expect(here.hub.rangesOf("model.safetensors")[0]).toBeGreaterThanOrEqual(size);
    expect(downloadedBytes).toBeLessThanOrEqual(weights.length - size);
    expect(readFileSync(join(dir, "model.safetensors")).equals(weights)).toBe(true);
    expect(readdirSync(blobs)).toHaveLength(read.length);
  });
});

describe("Wrong content", () => {
  test.each(["model.safetensors", "tokenizer.json"])(
    "of %s is noticed, thrown away and never given its name",
    async (path) => {
      await using here = await place();
      here.hub.fault = ({ what, from }) => (what === path && from !== undefined ? "wrong content" : undefined);
      const error = await rejection(here.pull());
      expect(error).toBeInstanceOf(FileError);
      expect(error.message).toMatch(/arrived with the hash [0-9a-f]+, but the hub says [0-9a-f]+; it was thrown away/);
      const content = here.hub.files[path] ?? new Uint8Array();
      const hash = path === "tokenizer.json" ? gitHash(content) : sha256(content);
      expect(readdirSync(join(here.folder, "blobs")).some((name) => name.startsWith(hash))).toBe(false);
      expect(existsSync(join(here.folder, "refs"))).toBe(false);
      here.hub.fault = () => undefined;
      await here.pull();
    },
  );

  test.each([
    ["shorter than the file", 1000],
    ["longer than the file", weights.length + 1000],
  ])("that another process left, %s, is fetched anew", async (_, bytes) => {
    await using here = await place();
    const target = join(here.folder, "blobs", sha256(weights));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(deadPart(target), new Uint8Array(bytes));
    const { dir } = await here.pull();
    expect(readFileSync(join(dir, "model.safetensors")).equals(weights)).toBe(true);
    expect(here.hub.rangesOf("model.safetensors").at(-1)).toBe(0);
  });
});

describe.skipIf(whyNoSmallDisk() !== undefined)("A small disk", () => {
  test("is noticed before the weights are asked for", async () => {
    using disk = smallDisk(4 << 20);
    await using here = await place(undefined, disk.path);
    const error = await rejection(here.pull());
    expect(error.message).toMatch(
      /: what is missing of the model takes 5\.\d MB, and \d\.\d MB are free here\. Free some space, or set HF_HUB_CACHE/,
    );
    expect(here.hub.rangesOf("model.safetensors")).toEqual([]);
  });

  test("that fills up on the way is said in words, and what came is kept", async () => {
    using disk = smallDisk(8 << 20);
    await using here = await place(undefined, disk.path);
    here.hub.fault = (request) => {
      if (isContent(request)) writeFileSync(join(disk.path, "other"), new Uint8Array(4 << 20));
      return undefined;
    };
    const error = await rejection(here.pull());
    expect(error.message).toMatch(/the disk is full .*Free some space, or set HF_HUB_CACHE to a folder that has more/);
    expect(existsSync(join(here.folder, "refs"))).toBe(false);
  });
});

describe("The hub's refusal is said in words:", () => {
  const refused = async (fault: HubServer["fault"], env: Record<string, string> = {}, name = id): Promise<string> => {
    await using here = await place();
    Object.assign(here.env, env);
    here.hub.fault = fault;
    const error = await rejection(here.pull(name));
    expect(error).toBeInstanceOf(FileError);
    expect(existsSync(join(here.folder, "refs"))).toBe(false);
    return error.message.replaceAll(here.hub.url, "HUB");
  };
  const always = (status: number) => () => ({ status });
  const content = (status: number) => (request: Request) => (request.what === "config.json" ? { status } : undefined);

  test.each([always(401), content(401)])("401", async (fault) => {
    expect(await refused(fault)).toBe(
      "Qwen/Qwen3-0.6B: is gated or private, or there is no such model: the hub answers only to those it knows (401). " +
        "Check the name; if it is right, accept the terms at HUB/Qwen/Qwen3-0.6B and set HF_TOKEN to a token from HUB/settings/tokens.",
    );
    expect(await refused(fault, { HF_TOKEN: "hf_old" })).toContain("the hub does not accept HF_TOKEN (401)");
  });

  test.each([always(403), content(403)])("403", async (fault) => {
    expect(await refused(fault, { HF_TOKEN: "hf_x" })).toContain(
      "is gated or private, and HF_TOKEN gives no access to it (403)",
    );
    expect(await refused(fault)).toContain("no HF_TOKEN is set (403)");
  });

  test("404, 429 and 500", async () => {
    expect(await refused(always(404), {}, `${id}@v9`)).toContain(
      "there is no such model, or it has no revision v9 (404)",
    );
    expect(await refused(always(429))).toContain("too many requests from here (429)");
    expect(await refused(always(500))).toContain("the hub answered with status 500 (refused with 500");
  });

  test("a storage that has a fault for a while is asked again", async () => {
    await using here = await place();
    here.hub.fault = faults({ status: 503 }, { status: 500 });
    await here.pull();
    expect(here.waits).toEqual([1, 2]);
  });

  test("nobody there", async () => {
    const env = { HF_ENDPOINT: "http://127.0.0.1:1", HF_HUB_CACHE: "/nowhere" };
    const error = await rejection(pull(id, { env }));
    expect(error.message).toMatch(
      /^Qwen\/Qwen3-0\.6B: http:\/\/127\.0\.0\.1:1 could not be reached.*models that are here work offline/,
    );
  });

  test("what the environment forbids, or gets wrong", async () => {
    const message = async (env: Record<string, string>, name = id) => (await rejection(pull(name, { env }))).message;
    expect(await message({ HF_HUB_OFFLINE: "1" })).toContain("HF_HUB_OFFLINE is 1. Unset it");
    expect(await message({ HF_TOKEN: "secret" })).toBe(
      "HF_TOKEN: does not begin with hf_, as tokens of the hub do. Correct it, or unset it.",
    );
    expect(await message({ HF_ENDPOINT: "huggingface" })).toContain('HF_ENDPOINT: is "huggingface", not a URL');
    expect(await message({}, "../etc/passwd")).toContain(
      "is not a model's name on the hub. Give org/name or org/name@revision",
    );
  });
});

describe("A model is refused before its weights are downloaded when", () => {
  test.each([
    [
      "kakeya can't run it",
      { "config.json": '{"architectures": ["GPT2LMHeadModel"]}' },
      /architectures is \["GPT2LMHeadModel"\].*can't run/,
    ],
    [
      "it is in another format",
      { "model.safetensors": undefined, "tiny.gguf": "x" },
      /has no model\.safetensors and no .*it has (pytorch_model\.bin|tiny\.gguf)/,
    ],
    [
      "its index names a file that is not there",
      { "model.safetensors": undefined, "model.safetensors.index.json": '{"weight_map": {"a": "lost.safetensors"}}' },
      /lacks lost\.safetensors, which model\.safetensors\.index\.json names/,
    ],
    [
      "its index names a file elsewhere",
      {
        "model.safetensors": undefined,
        "model.safetensors.index.json": '{"weight_map": {"a": "../../x.safetensors"}}',
      },
      /weight_map\.a is "\.\.\/\.\.\/x\.safetensors", not a file beside it/,
    ],
  ])("%s", async (_, changes: Record<string, string | undefined>, message) => {
    const files = tinyFiles();
    for (const [name, text] of Object.entries(changes)) {
      if (text === undefined) delete files[name];
      else files[name] = new TextEncoder().encode(text);
    }
    await using here = await place(files);
    expect((await rejection(here.pull())).message).toMatch(message);
    expect(here.hub.requests.some(({ server }) => server === "storage")).toBe(false);
  });

  test("the hub's list and its files contradict each other", async () => {
    await using here = await place();
    here.hub.listed = (entries) =>
      entries.map((entry) => ("path" in entry && entry.path === "config.json" ? { ...entry, size: 1 } : entry));
    expect((await rejection(here.pull())).message).toMatch(/the hub lists config\.json with 1 bytes, but has \d+/);
    here.hub.listed = (entries) => entries;
    here.hub.fault = ({ what }) => (what === "config.json" ? { status: 404, code: "EntryNotFound" } : undefined);
    expect((await rejection(here.pull())).message).toContain("the hub lists config.json, but does not have it");
    expect(here.waits).toEqual([]);
  });

  test("the hub names a hash that is none, which would become a path", async () => {
    await using here = await place();
    here.hub.listed = (entries) => entries.map((entry) => ({ ...entry, oid: "../../../../x" }));
    expect((await rejection(here.pull())).message).toContain("its answer names no hash of");
    expect(existsSync(resolve(here.folder, "../../x"))).toBe(false);
  });
});

test("Whatever a hub answers, a pull ends with a model or with words", async () => {
  await using here = await place({});
  const path = fc.oneof(fc.constantFrom("config.json", "model.safetensors", "../x"), fc.string());
  const hex = fc.constantFrom("a".repeat(40), "b".repeat(64), "");
  const lfs = fc.oneof(fc.record({ oid: fc.oneof(hex, fc.jsonValue()), size: fc.nat() }), fc.jsonValue());
  const entry = fc.record(
    {
      type: fc.constant("file"),
      path,
      size: fc.oneof(fc.integer(), fc.jsonValue()),
      oid: fc.oneof(hex, fc.jsonValue()),
      lfs,
    },
    { requiredKeys: ["type"] },
  );
  const tree = fc.oneof(fc.jsonValue(), fc.array(fc.oneof(entry, fc.jsonValue()), { maxLength: 4 }));
  const info = fc.oneof(fc.jsonValue(), fc.constant({ id: "x", sha: HubServer.commit }));
  await fc.assert(
    fc.asyncProperty(info, tree, async (infoAnswer, treeAnswer) => {
      here.hub.says = (what) => (what === "info" ? infoAnswer : treeAnswer);
      expect(await rejection(here.pull())).toBeInstanceOf(FileError);
    }),
    { numRuns: 150 },
  );
  expect(existsSync(join(here.folder, "refs"))).toBe(false);
});

test("A cache that can't be written to is named", async () => {
  await using here = await place(undefined, "/dev/null/hub");
  expect((await rejection(here.pull())).message).toMatch(/^\/dev\/null\/hub\S*: can't be written .*set HF_HUB_CACHE/);
});

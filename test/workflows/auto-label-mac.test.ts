import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { scratchDir } from "../scratch.ts";

const source = readFileSync(resolve(import.meta.dir, "../../.github/workflows/auto-label-mac.yaml"), "utf8");
const workflow = Bun.YAML.parse(source) as { jobs: { label: { steps: { run?: string; uses?: string }[] } } };
const { steps } = workflow.jobs.label;

interface PullRequest {
  files: string[];
  labelled: boolean;
  from?: string;
}

/** Runs the workflow's own script on a pull request, with a `gh` that notes what it was asked to do. */
async function did({ files, labelled, from = "us/kakeya" }: PullRequest): Promise<string[]> {
  using scratch = scratchDir();
  const [log, gh] = [join(scratch.path, "log"), join(scratch.path, "gh")];
  const listed = files.map((file) => `'${file.replaceAll("'", `'\\''`)}'`).join(" ");
  writeFileSync(gh, `#!/bin/sh\nif [ "$1" = api ]; then printf '%s\\n' ${listed}; else echo "$*" >> "${log}"; fi\n`);
  chmodSync(gh, 0o755);
  const env = { NUMBER: "7", BRANCH: "topic", GH_REPO: "us/kakeya", FROM: from, LABELLED: String(labelled) };
  const script = Bun.spawn(["bash", "-e", "-c", steps[0]?.run ?? ""], {
    cwd: scratch.path,
    env: { PATH: `${scratch.path}:${process.env.PATH}`, ...env },
    stdout: "ignore",
  });
  expect(await script.exited).toBe(0);
  return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
}

const adds = [
  expect.stringMatching(/^label create needs-mac-m4 .*--force$/),
  "pr edit 7 --add-label needs-mac-m4",
  "workflow run integration.yaml --ref topic",
];

describe("the label needs-mac-m4", () => {
  test.each([
    "src/engine/core.ts",
    "src/devices/find.ts",
    "src/kv/slab.ts",
    "src/graph/graph.ts",
    "src/session/store.ts",
    "src/grpc/service.ts",
    "src/client/client.ts",
    "proto/kakeya/v1/runtime.proto",
    "test/integration/real-model.test.ts",
  ])("is put on, and the suite started, when %s is touched", async (file) => {
    expect(await did({ files: ["README.md", file], labelled: false })).toEqual(adds);
  });

  test.each(["README.md", "src/report/gates.ts", "src/engineering.md", "docs/src/kv/x.md", "test/kv/slab.test.ts"])(
    "is not put on for %s",
    async (file) => expect(await did({ files: [file], labelled: false })).toEqual([]),
  );

  test("stays as it is when nothing changed about it", async () => {
    expect(await did({ files: ["src/kv/slab.ts"], labelled: true })).toEqual([]);
  });

  test("is taken off when the files are no longer touched", async () => {
    expect(await did({ files: ["README.md"], labelled: true })).toEqual(["pr edit 7 --remove-label needs-mac-m4"]);
  });

  test("on a pull request from a fork starts nothing: a maintainer looks first", async () => {
    expect(await did({ files: ["src/kv/slab.ts"], labelled: false, from: "them/kakeya" })).toEqual(adds.slice(0, 2));
  });

  test("a file's name is data, whatever is in it", async () => {
    expect(
      await did({ files: ["$(touch pwned)", "`touch pwned`; src/kv/x", "a' ; touch pwned"], labelled: false }),
    ).toEqual([]);
  });
});

test("nothing of the pull request is checked out, and no expression is pasted into the script", () => {
  expect(steps.filter(({ uses }) => uses !== undefined)).toEqual([]);
  for (const { run } of steps) expect(run).not.toContain("${{");
});

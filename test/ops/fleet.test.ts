/** The configurations of docs/ops/fleet, each judged by what reads it. */
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { StatefulSet } from "kubernetes-models/apps/v1/StatefulSet";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { Secret } from "kubernetes-models/v1/Secret";
import { Service } from "kubernetes-models/v1/Service";
import { scratchDir } from "../scratch.ts";

const folder = resolve(import.meta.dir, "../../docs/ops/fleet");
const text = (name: string) => readFileSync(join(folder, name), "utf8");

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  spec?: Record<string, unknown>;
  data?: Record<string, string>;
}

type Model = new (manifest: never) => { validate(): void };
const models: Record<string, Model> = { ConfigMap, Deployment, PodDisruptionBudget, Secret, Service, StatefulSet };

function manifests(): Manifest[] {
  const parsed: unknown = Bun.YAML.parse(text("kubernetes.yaml"));
  if (!Array.isArray(parsed)) throw new Error("kubernetes.yaml holds several documents");
  return parsed;
}

function problemOf(manifest: Manifest): string | undefined {
  const Model = models[manifest.kind];
  if (Model === undefined) return `no model for ${manifest.kind}`;
  try {
    new Model(manifest as never).validate();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

describe("Kubernetes", () => {
  test("accepts every manifest, by its own schemas", () => {
    expect(manifests().length).toBeGreaterThan(5);
    for (const manifest of manifests()) expect(`${manifest.kind}: ${problemOf(manifest)}`).toEndWith(": undefined");
  });

  test("would not accept one with a mistake", () => {
    const [workload] = manifests().filter(({ kind }) => kind === "StatefulSet");
    expect(problemOf({ ...(workload as Manifest), spec: { ...workload?.spec, replicas: "three" } })).toContain(
      "replicas",
    );
  });

  test("the proxy leads to as many servers as there are", () => {
    const all = manifests();
    const replicas = all.find(({ kind }) => kind === "StatefulSet")?.spec?.replicas;
    const config = all.find(({ kind }) => kind === "ConfigMap")?.data?.["haproxy.cfg"] ?? "";
    expect(
      config.match(/^ +server kakeya-\d kakeya-\d\.kakeya-servers\.default\.svc\.cluster\.local:50051 /gm),
    ).toHaveLength(Number(replicas));
  });
});

test("all proxies route to the same three servers, by the same header", () => {
  for (const name of ["haproxy.cfg", "nginx.conf", "envoy.yaml"]) {
    const config = text(name);
    for (const port of [50050, 50051, 50052, 50053, 8050, 8051, 8052, 8053]) expect(config).toContain(String(port));
    expect(config).toMatch(/kakeya[-_]session/);
  }
  expect(Bun.YAML.parse(text("envoy.yaml"))).toHaveProperty("static_resources.clusters");
});

function complaint(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? "" : `${stdout}${stderr}`;
}

test.skipIf(Bun.which("haproxy") === null)("HAProxy accepts its configurations", () => {
  expect(complaint("haproxy", "-c", "-f", join(folder, "haproxy.cfg"))).toBe("");
  using scratch = scratchDir();
  const config = manifests().find(({ kind }) => kind === "ConfigMap")?.data?.["haproxy.cfg"] ?? "";
  const path = join(scratch.path, "haproxy.cfg");
  writeFileSync(path, config);
  expect(complaint("haproxy", "-c", "-f", path)).toBe("");
});

test.skipIf(Bun.which("nginx") === null)("nginx accepts its configuration", () => {
  using scratch = scratchDir();
  const pid = `pid ${join(scratch.path, "nginx.pid")};`;
  expect(complaint("nginx", "-t", "-c", join(folder, "nginx.conf"), "-p", scratch.path, "-g", pid)).toBe("");
});

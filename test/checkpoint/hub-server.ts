import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";

const tinyDir = join(import.meta.dir, "../../models/kakeya-tiny");

/** What the hub answers in place of the truth; see `HubServer.fault`. */
export type Fault =
  | { status: number; code?: string }
  /** The connection breaks after this many bytes of content. */
  | { cutAfter: number }
  /** Content stops coming after this many bytes, and the connection stays. */
  | { stallAfter: number }
  /** One bit of the content is another. */
  | "wrong content";

export interface Request {
  /** "info", "tree" or the path of a file. */
  what: string;
  server: "hub" | "storage";
  /** First byte that was asked for; undefined for the library's question for a file's size. */
  from: number | undefined;
  token: string | undefined;
}

/**
 * Speaks the Hugging Face hub's protocol: a model's commit, its files page by page, contents by range, large files by
 * a redirect to another origin (a storage that must not see the token). Every model has the same files.
 */
export class HubServer {
  static readonly commit = "0123456789abcdef0123456789abcdef01234567";

  /** What every revision stands for. */
  sha = HubServer.commit;
  readonly requests: Request[] = [];
  /** What goes wrong with a request; nothing by default. */
  fault: (request: Request) => Fault | undefined = () => undefined;
  /** The answers to "info" and "tree", instead of the true ones. */
  says: ((what: string) => unknown) | undefined;
  /** Changes the list of files. */
  listed: (entries: object[]) => object[] = (entries) => entries;

  readonly #hub: Server;
  readonly #storage: Server;

  private constructor(readonly files: Record<string, Uint8Array>) {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#storage = createServer((request, response) => this.#answer("storage", request, response));
  }

  /** kakeya-tiny's files and some that the runtime does not read, unless others are given. */
  static async start(files: Record<string, Uint8Array> = tinyFiles()): Promise<HubServer> {
    const server = new HubServer(files);
    for (const part of [server.#hub, server.#storage]) {
      await new Promise<void>((listening) => part.listen(0, "127.0.0.1", listening));
    }
    return server;
  }

  get url(): string {
    return originOf(this.#hub);
  }

  /** The requests for contents, each file's in order: where they began. */
  rangesOf(path: string): number[] {
    return this.requests.flatMap(({ what, server, from }) =>
      what === path && server === (this.#isLarge(path) ? "storage" : "hub") && from !== undefined ? [from] : [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [this.#hub, this.#storage]) {
      part.closeAllConnections();
      await new Promise((closed) => part.close(closed));
    }
  }

  #answer(server: Request["server"], { url = "", headers }: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(url, "http://hub");
    const [, path] = /\/(?:resolve\/[^/]+|storage)\/(.+)$/.exec(pathname) ?? [];
    const what = path ?? (pathname.includes("/tree/") ? "tree" : "info");
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
    const isSizeQuestion = headers.range === "bytes=0-0";
    const from = path === undefined || isSizeQuestion ? undefined : Number(range?.[1] ?? 0);
    const request: Request = { what, server, from, token: headers.authorization };
    this.requests.push(request);
    const fault = this.fault(request);
    if (typeof fault === "object" && "status" in fault) refuse(response, fault);
    else if (path !== undefined) this.#sendFile(server, path, range, fault, response);
    else if (this.says !== undefined) json(response, this.says(what));
    else if (what === "tree") this.#sendTree(url, response);
    else json(response, { _id: "1", id: "any", sha: this.sha, lastModified: "2026-01-01T00:00:00Z" });
  }

  /** Three entries a page. */
  #sendTree(url: string, response: ServerResponse): void {
    const entries = this.listed([
      { type: "directory", path: "onnx", size: 0, oid: "0".repeat(40) },
      ...Object.keys(this.files).map((path) => this.#entry(path)),
    ]);
    const at = new URL(url, this.url);
    const start = Number(at.searchParams.get("cursor") ?? 0);
    if (start + 3 < entries.length) {
      at.searchParams.set("cursor", String(start + 3));
      response.setHeader("link", `<${at.href}>; rel="next"`);
    }
    json(response, entries.slice(start, start + 3));
  }

  #entry(path: string): object {
    const content = this.files[path] ?? new Uint8Array();
    const entry = { type: "file", path, size: content.length, oid: gitHash(content) };
    return this.#isLarge(path)
      ? { ...entry, lfs: { oid: sha256(content), size: content.length, pointerSize: 130 } }
      : entry;
  }

  #sendFile(
    server: Request["server"],
    path: string,
    range: RegExpExecArray | null,
    fault: Exclude<Fault, { status: number }> | undefined,
    response: ServerResponse,
  ): void {
    const content = this.files[path];
    if (content === undefined) {
      refuse(response, { status: 404, code: "EntryNotFound" });
      return;
    }
    if (server === "hub" && this.#isLarge(path)) {
      const location = `${originOf(this.#storage)}/storage/${path}`;
      response.writeHead(302, { location, "x-linked-etag": `"${sha256(content)}"`, "x-linked-size": content.length });
      response.end();
      return;
    }
    const first = Number(range?.[1] ?? 0);
    const end = range?.[2] ? Number(range[2]) + 1 : content.length;
    const body = content.slice(first, end);
    if (fault === "wrong content" && body.length > 1) body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 1;
    response.writeHead(range === null ? 200 : 206, {
      etag: `"${this.#isLarge(path) ? sha256(content) : gitHash(content)}"`,
      "content-length": body.length,
      ...(range === null ? {} : { "content-range": `bytes ${first}-${end - 1}/${content.length}` }),
    });
    if (typeof fault !== "object" || body.length <= 1) response.end(body);
    else if ("stallAfter" in fault) response.write(body.slice(0, fault.stallAfter));
    else response.write(body.slice(0, fault.cutAfter), () => response.socket?.destroy());
  }

  #isLarge(path: string): boolean {
    return path.endsWith(".safetensors") || path.endsWith(".bin");
  }
}

export function gitHash(content: Uint8Array): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

export function tinyFiles(): Record<string, Uint8Array> {
  const read = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ];
  const unread = [".gitattributes", "README.md", "consolidated.safetensors", "pytorch_model.bin", "vocab.json"];
  return Object.fromEntries([
    ...unread.map((name) => [name, new TextEncoder().encode(`not read: ${name}`)] as const),
    ...read.map((name) => [name, new Uint8Array(readFileSync(join(tinyDir, name)))] as const),
  ]);
}

function originOf(server: Server): string {
  const address = server.address();
  return `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
}

function refuse(response: ServerResponse, { status, code }: { status: number; code?: string }): void {
  response.writeHead(status, {
    "content-type": "application/json",
    ...(code === undefined ? {} : { "x-error-code": code }),
  });
  response.end(JSON.stringify({ error: `refused with ${status}` }));
}

function json(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(value));
}

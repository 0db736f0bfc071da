import { expect, test } from "bun:test";
import { resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");

async function isLoaded(expression: string): Promise<string> {
  const code = `${expression}; console.log(Object.keys(require.cache).some((path) => path.includes("onnx-proto")))`;
  const child = Bun.spawn([process.execPath, "-e", code], { cwd: root, stdout: "pipe" });
  return (await new Response(child.stdout).text()).trim();
}

test("what writes graphs is loaded when one is written, not by a server or its engine", async () => {
  const modules = ["serve/run", "engine/load"].map((name) => `await import("./src/${name}.ts")`).join(";");
  expect(await isLoaded(modules)).toBe("false");
  const writing = `const { GraphWriter } = await import("./src/graph/onnx.ts"); new GraphWriter().finish()`;
  expect(await isLoaded(writing)).toBe("true");
});

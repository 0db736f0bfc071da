import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { builtInWorkload, parseWorkload, readWorkload } from "../../src/bench/workload.ts";
import { scratchDir } from "../scratch.ts";

test("the built-in rotation is six questions", () => {
  expect(builtInWorkload.messages).toHaveLength(6);
  expect(builtInWorkload.messages[0]).toBe("What is a sliding window KV cache?");
});

test("a text file holds one message a line; empty lines and Windows line ends don't matter", () => {
  expect(parseWorkload("\uFEFFfirst\r\n\n  \nsecond {not json}\n", "talk.txt")).toEqual(["first", "second {not json}"]);
});

test("a JSONL file holds strings, or objects with a message", () => {
  const text = '"first\\nwith two lines"\n\n{"id": 7, "message": "second"}\n';
  expect(parseWorkload(text, "talk.JSONL")).toEqual(["first\nwith two lines", "second"]);
});

test("any messages survive JSONL", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1, unit: "binary" }), { minLength: 1 }), (messages) => {
      const text = messages.map((message) => JSON.stringify(message)).join("\n");
      expect(parseWorkload(text, "talk.jsonl")).toEqual(messages);
    }),
  );
});

test.each([
  ["not json", "talk.jsonl:2 is not JSON"],
  ['{"text": "x"}', 'talk.jsonl:2 must be a string or {"message": "..."}'],
  ["7", "talk.jsonl:2 must be a string"],
  ['""', "talk.jsonl:2 must be a string"],
])("the line %j of a JSONL file is refused by its number", (line, message) => {
  expect(() => parseWorkload(`"good"\n${line}\n`, "talk.jsonl")).toThrow(message);
});

test("a file without a message is refused", () => {
  expect(() => parseWorkload("\n \n", "talk.txt")).toThrow("talk.txt holds no message");
});

test("a file that can't be read is named", async () => {
  await expect(readWorkload("/no/such/file.txt")).rejects.toThrow("can't read the workload /no/such/file.txt");
});

test("a workload is named by its path", async () => {
  using scratch = scratchDir();
  const path = join(scratch.path, "talk.txt");
  writeFileSync(path, "hello\n");
  expect(await readWorkload(path)).toEqual({ name: path, messages: ["hello"] });
});

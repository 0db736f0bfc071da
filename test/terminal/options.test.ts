import { expect, test } from "bun:test";
import { UsageError } from "../../src/cli/exit.ts";
import { chatOptions } from "../../src/terminal/options.ts";

test("with no flags at all it is a conversation with a server of its own, greedy", () => {
  expect(chatOptions({})).toMatchObject({
    connection: { address: undefined },
    serverFlags: [],
    message: undefined,
    session: undefined,
    thinking: undefined,
    sending: { maxTokens: 2048, temperature: 0 },
  });
});

test("flags of its own server are passed on, and what is said is said as it was given", () => {
  const given = { model: "org/name", window: "256", state: "kept", message: "Hi", seed: "18446744073709551615" };
  expect(chatOptions({ ...given, temperature: ".5", "top-p": "0.9" })).toMatchObject({
    serverFlags: ["--model", "org/name", "--window", "256", "--state", "kept"],
    tokenizer: "org/name",
    message: { text: "Hi" },
    sending: { temperature: 0.5, topP: 0.9, seed: 2n ** 64n - 1n },
  });
  expect(chatOptions({ message: "-" }).message).toBe("input");
});

test.each([
  [{ session: "x" }, "--session continues a session of --state or of --address"],
  [{ address: "127.0.0.1:1", state: "x" }, "--state is for a server that is started here"],
  [{ address: "127.0.0.1:1", "token-file": "-" }, "can't both come from the standard input"],
  [{ "tls-ca": "x.pem" }, "--tls-ca is for the server at --address"],
  [{ temperature: "hot" }, '--temperature must be a number from 0 to 100, not "hot"'],
  [{ temperature: "1", "top-p": "0" }, "--top-p must be a number from"],
  [{ seed: "1" }, "--seed has no effect without a --temperature above 0"],
  [{ temperature: "1", seed: "18446744073709551616" }, "--seed must be an integer from 0 to 2^64 - 1"],
  [{ "max-tokens": "0" }, "--max-tokens must be an integer from 1"],
  [{ thinking: "aloud" }, '--thinking must be show or hide, not "aloud"'],
])("%j is refused", (args, message) => {
  expect(() => chatOptions(args)).toThrow(UsageError);
  expect(() => chatOptions(args)).toThrow(message);
});

import { afterEach, beforeEach, describe, expect, type Mock, spyOn, test } from "bun:test";
import { command } from "../../src/cli/command.ts";
import { type ExitCode, exit } from "../../src/cli/exit.ts";
import { type Program, run } from "../../src/cli/run.ts";
import { integer } from "../../src/cli/units.ts";

let out = "";
let err = "";
const ended = (done: unknown) => {
  if (typeof done === "function") done(failure);
  return true;
};
/** What writing ends with. */
let failure: Error | undefined;
const spies: Mock<typeof process.stdout.write>[] = [];
beforeEach(() => {
  out = "";
  err = "";
  failure = undefined;
  spies.push(
    spyOn(process.stdout, "write").mockImplementation((text: unknown, done?: unknown) => {
      out += text;
      return ended(done);
    }),
    spyOn(process.stderr, "write").mockImplementation((text: unknown, done?: unknown) => {
      err += text;
      return ended(done);
    }),
  );
});
afterEach(() => {
  for (const spy of spies.splice(0)) spy.mockRestore();
});

let given: unknown;

const sail = command({
  name: "sail",
  description: "Sail somewhere.",
  args: {
    port: { type: "positional", required: false, description: "Where to" },
    "max-knots": { type: "string", default: "5", description: "Speed" },
    rig: { type: "enum", options: ["sloop", "ketch"], description: "Rig" },
    "dry-run": { type: "boolean", description: "Stay ashore" },
    tide: { type: "boolean", default: true, description: "Wait for the tide" },
  },
  examples: ["sail Delft --max-knots 3"],
  run({ args }): ExitCode | undefined {
    given = { port: args.port, knots: integer("max-knots", args["max-knots"]), dry: args["dry-run"], tide: args.tide };
    if (args.port === "Atlantis") throw new Error("there is no Atlantis");
    return args.port === "Utopia" ? exit.gateFailed : undefined;
  },
});

const program: Program = {
  name: "ship",
  version: "1.2.3",
  description: "A ship.",
  commands: { sail: async () => sail },
};

describe("a command line", () => {
  test("reaches its command, and the command's code is the answer", async () => {
    expect(await run(program, ["sail", "Delft", "--max-knots", "3", "--dry-run", "--no-tide"])).toBe(exit.done);
    expect(given).toEqual({ port: "Delft", knots: 3, dry: true, tide: false });
    expect(await run(program, ["sail", "Utopia"])).toBe(exit.gateFailed);
    expect([out, err]).toEqual(["", ""]);
  });

  test("an error is one line on stderr and code 1", async () => {
    expect(await run(program, ["sail", "Atlantis"])).toBe(exit.failure);
    expect([out, err]).toEqual(["", "ship: there is no Atlantis\n"]);
  });

  test.each([
    [["sail", "--max-knot", "3"], "unknown option --max-knot; did you mean --max-knots?"],
    [["sail", "--dryrun"], "unknown option --dryrun; did you mean --dry-run?"],
    [["sail", "--no-tid"], "unknown option --no-tid; did you mean --no-tide?"],
    [["sail", "-x"], "unknown option -x"],
    [["sail", "--no-rudder"], "unknown option --no-rudder"],
    [["sail", "--no-max-knots"], "unknown option --no-max-knots"],
    [["sail", "--max-knots"], "option --max-knots needs a value"],
    [["sail", "--max-knots="], "option --max-knots needs a value"],
    [["sail", "--max-knots", "fast"], '--max-knots must be an integer of 0 or more, not "fast"'],
    [["sail", "--rig", "brig"], "Invalid value for argument: --rig (brig). Expected one of: sloop, ketch."],
    [["sail", "Delft", "Gouda"], 'unexpected argument "Gouda"'],
    [["sail", "Delft", "--", "--help"], 'unexpected argument "--help"'],
  ])("%p is a mistake that is named, with the way to the help", async (argv, message) => {
    expect(await run(program, argv)).toBe(exit.usage);
    expect([out, err]).toEqual(["", `ship: ${message}\nsee ship sail --help\n`]);
  });

  test.each([
    [["fly"], "unknown command fly"],
    [["sial"], "unknown command sial; did you mean sail?"],
    [["halp"], "unknown command halp; did you mean help?"],
    [["help", "sial"], "unknown command sial; did you mean sail?"],
    [["--fly"], "unknown option --fly"],
    [["--versoin"], "unknown option --versoin; did you mean --version?"],
    [["toString"], "unknown command toString"],
    [["--version", "now"], 'unexpected argument "now"'],
    [["version", "now"], 'unexpected argument "now"'],
  ])("%p does not get as far as a command", async (argv, message) => {
    expect(await run(program, argv)).toBe(exit.usage);
    expect([out, err]).toEqual(["", `ship: ${message}\nsee ship --help\n`]);
  });
});

test("output that could not be written is a failure; a reader that went away is not", async () => {
  failure = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  expect(await run(program, ["--version"])).toBe(exit.failure);
  expect(err).toBe("ship: the output could not be written: no space left on device\n");
  failure = Object.assign(new Error("broken pipe"), { code: "EPIPE" });
  expect(await run(program, ["--version"])).toBe(exit.done);
});

describe("help", () => {
  test.each(["--help", "-h", "help"])(
    "%s is data: on stdout, code 0, uncoloured in a pipe, no blank at a line's end",
    async (word) => {
      expect(await run(program, [word])).toBe(exit.done);
      expect(out).toContain("A ship. (ship v1.2.3)");
      expect(out).toMatch(/^ +sail +Sail somewhere\.$/m);
      expect(out).toMatch(/^ +help +Print this page, or the page of a command\.$/m);
      expect(out).not.toContain("\x1b");
      expect(out).not.toMatch(/ $/m);
      expect(err).toBe("");
    },
  );

  test.each([
    [["sail", "--help"]],
    [["sail", "-h"]],
    [["sail", "Delft", "--bad", "--help"]],
    [["help", "sail"]],
    [["--help", "sail"]],
  ])("of a command: %p", async (argv) => {
    expect(await run(program, argv)).toBe(exit.done);
    for (const part of [
      "[PORT]",
      "--max-knots",
      "Default: 5",
      "sloop|ketch",
      "EXAMPLES\n\n  kakeya sail Delft --max-knots 3",
    ]) {
      expect(out).toContain(part);
    }
  });

  test("no command at all: the page goes to stderr, and the code says that something was missing", async () => {
    expect(await run(program, [])).toBe(exit.usage);
    expect(out).toBe("");
    expect(err).toMatch(/^ +sail +Sail somewhere\.$/m);
  });

  test.each(["version", "--version", "-v", "-V"])("%s prints the version alone", async (flag) => {
    expect(await run(program, [flag])).toBe(exit.done);
    expect(out).toBe("1.2.3\n");
  });
});

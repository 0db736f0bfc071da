import { isJsonObject, type JsonObject } from "../checkpoint/json-file.ts";
import { ModelError } from "../checkpoint/model-error.ts";

/** How many times longer a tokenizer's rules may make a text. Those in use stay under ten. */
const mostGrowth = 1024;

/**
 * Throws ModelError when the rules of the tokenizer in `file` can make a text grow beyond bounds: forty rules that
 * replace a letter by two make a terabyte of one letter.
 */
export function refuseGrowingText(file: string, tokenizer: JsonObject): void {
  for (const stage of ["normalizer", "pre_tokenizer", "decoder"]) {
    const growth = growthOf(tokenizer[stage]);
    if (growth <= mostGrowth) continue;
    const problem = `its ${stage} can make a text ${growth} times as long, and ${mostGrowth} is the most`;
    throw new ModelError(file, problem, "Download the file again, or use another tokenizer");
  }
}

/** The most by which a rule, or all rules in it one after the other, can multiply a text's length. */
function growthOf(rule: unknown): number {
  if (Array.isArray(rule)) return rule.reduce((product: number, one: unknown) => product * growthOf(one), 1);
  if (!isJsonObject(rule)) return 1;
  switch (rule.type) {
    case "Replace":
      return replaceGrowth(rule.pattern, rule.content);
    case "Metaspace":
      return Math.max(lengthOf(rule.str_rep), lengthOf(rule.replacement), 1);
    default:
      return growthOf(rule.normalizers) * growthOf(rule.pretokenizers) * growthOf(rule.decoders);
  }
}

function replaceGrowth(pattern: unknown, content: unknown): number {
  if (typeof content !== "string" || content === "") return 1;
  // JavaScript puts what stands before, in or after the match in the place of these.
  if (/\$[&`'<\d]/.test(content)) return Infinity;
  const { String: literal, Regex: regex }: JsonObject = isJsonObject(pattern) ? pattern : {};
  if (regex === undefined && typeof literal === "string" && literal !== "") {
    return Math.max(1, content.length / literal.length);
  }
  // An empty match matches next to every character.
  const mayMatchNothing = typeof regex !== "string" || regex === "" || /[*?|^$]|\{0|\(\)|\\[bBAzZG]/.test(regex);
  return content.length + (mayMatchNothing ? 1 : 0);
}

function lengthOf(value: unknown): number {
  return typeof value === "string" ? value.length : 0;
}

import { randomBytes } from "node:crypto";

/** An unguessable id: whoever knows a response's id can continue it. */
export function newId(prefix: "resp" | "msg" | "rs" | "fc" | "call" | "conv" | "chatcmpl" | "fco"): string {
  return `${prefix}_${randomBytes(24).toString("hex")}`;
}

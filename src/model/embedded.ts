import { fileURLToPath } from "node:url";

/** Directory of the default model, kakeya-tiny. */
export function embeddedModelDir(): string {
  return fileURLToPath(new URL("../../models/kakeya-tiny", import.meta.url));
}

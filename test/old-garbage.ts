import { edenGC, heapSize } from "bun:jsc";

/** Makes so many bytes of garbage, of the kind that a young collection doesn't free. */
export function makeOldGarbage(bytes: number): void {
  const before = heapSize();
  const kept: object[] = [];
  while (heapSize() - before < bytes) {
    for (let i = 0; i < 20_000; i++) kept.push({ i });
    edenGC();
  }
}

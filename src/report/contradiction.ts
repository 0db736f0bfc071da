/** A report that contradicts itself proves nothing, whatever its gates say. Pure. */

import { oneLine } from "../cli/plain-text.ts";
import type { Recomputed } from "./recompute.ts";

/** A sentence for each report whose own figures don't follow from its turns. */
export function contradictions(runs: readonly Recomputed[]): string[] {
  return runs.flatMap(({ file, differences }) => {
    const [first] = differences ?? [];
    if (first === undefined) return [];
    const count = differences?.length ?? 0;
    const places = count === 1 ? `1 place, ${first.field}` : `${count} places, the first ${first.field}`;
    return [oneLine(`CONTRADICTORY  ${file}: its own figures are not those of its turns, in ${places}`)];
  });
}

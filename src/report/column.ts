/** One field of many turns, as numbers side by side: a million turns take 8 MB, and sort natively. */

/** The known values of a field, in the turns' order. */
export function columnOf<T>(turns: readonly T[], field: (turn: T) => number | null | undefined): Float64Array {
  const column = new Float64Array(turns.length);
  let n = 0;
  for (const turn of turns) {
    const value = field(turn);
    if (isKnown(value)) column[n++] = value;
  }
  return column.subarray(0, n);
}

/** False for what a report leaves out or gives as null. */
export function isKnown(value: number | null | undefined): value is number {
  return typeof value === "number";
}

/** Quantizes rows [n, k] in blocks of 32 along k, in the layout that plan.ts describes. */
export function quantizeRows(rows: Float32Array, k: number, bits: 4 | 8): { packed: Uint8Array; scales: Float32Array } {
  throw new Error(`not built yet: ${rows.length} ${k} ${bits}`);
}

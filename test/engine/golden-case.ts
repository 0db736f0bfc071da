/** A history that the oracle ran in float64. */
export interface GoldenCase {
  sink: number;
  window: number;
  tokens: number[];
  checks: { position: number; top: [number, number][]; sum: number }[];
  greedy: number[];
  greedy_margin: number[];
}

import { closest, distance } from "fastest-levenshtein";

/** "; did you mean X?" with the known word nearest to a misspelt one; nothing when none is near. */
export function didYouMean(typed: string, known: readonly string[]): string {
  const nearest = closest(typed, known);
  // Two swapped letters are a distance of two.
  const slips = Math.max(typed.length < 4 ? 1 : 2, Math.floor(typed.length / 3));
  const isNear = known.length > 0 && distance(typed, nearest) <= slips;
  return isNear ? `; did you mean ${nearest}?` : "";
}

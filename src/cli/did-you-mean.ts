import { closest, distance } from "fastest-levenshtein";

/** "; did you mean X?" with the known word nearest to a misspelt one; nothing when none is near. */
export function didYouMean(typed: string, known: readonly string[]): string {
  const nearest = closest(typed, known);
  const isNear = known.length > 0 && distance(typed, nearest) <= Math.ceil(typed.length / 3);
  return isNear ? `; did you mean ${nearest}?` : "";
}

/** Looks again and again until `look` finds something; only what never comes is given up, after 50 s. */
export async function eventually<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const endsAt = performance.now() + 50_000;
  while (performance.now() < endsAt) {
    const found = await look();
    if (found !== undefined) return found;
    await Bun.sleep(5);
  }
  throw new Error(`waited for ${what} in vain`);
}

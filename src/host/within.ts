/** The longest delay that timers can hold, 24.8 days. */
export const longestDelayMs = 2 ** 31 - 1;

/** Resolves when `work` is done, or after `durationS` seconds. */
export async function within(durationS: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(durationS * 1000, longestDelayMs));
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

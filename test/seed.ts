/**
 * The one seed of everything random in the tests; loaded before each test file. It is fixed, so that a run can be had
 * again; every night another one is drawn, and printed.
 */
import fc from "fast-check";

export const testSeed = Number(process.env.KAKEYA_TEST_SEED ?? 1);
if (!Number.isSafeInteger(testSeed) || testSeed < 0) {
  throw new Error(`KAKEYA_TEST_SEED must be a whole number, not "${process.env.KAKEYA_TEST_SEED}"`);
}

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: testSeed });

/**
 * Whether the tests of this folder run: they take minutes where a processor plays the GPU, so they are asked for by
 * KAKEYA_TEST_GPU=1. They run in a process whose environment leads to the GPU (CONTRIBUTING has the commands).
 */
export const asked = process.env.KAKEYA_TEST_GPU === "1";

export const onGpu = asked ? "on a GPU" : "on a GPU (skipped: KAKEYA_TEST_GPU=1 runs it, and needs a GPU)";

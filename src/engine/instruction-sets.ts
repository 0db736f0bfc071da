import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/**
 * The instruction sets by which ONNX Runtime chooses its CPU kernels. Other kernels add in another order, so they give
 * other bits.
 */
const decisive = [
  ...[
    "avx",
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "amx_tile",
    "amx_int8",
  ],
  ...["asimddp", "asimdhp", "i8mm", "bf16", "sve"],
];

/**
 * On which processors the same step gives the same bits: "x64 avx avx2 fma". Where the system doesn't list what its
 * processor can do, the processor's name stands for it.
 */
export function instructionSets(cpuInfo: string | undefined = readCpuInfo()): string {
  const listed = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuInfo ?? "")?.[1]?.split(" ");
  const known = listed ? decisive.filter((name) => listed.includes(name)) : [cpus()[0]?.model ?? "unknown"];
  return [process.arch, ...known].join(" ");
}

function readCpuInfo(): string | undefined {
  try {
    return readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    return undefined; // not Linux
  }
}

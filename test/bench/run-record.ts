import type { Clock } from "../../src/bench/clock.ts";
import { RunRecord } from "../../src/bench/record.ts";

/** An empty record of a run of kakeya-tiny. */
export function recordOf(clock: Clock): RunRecord {
  return new RunRecord({
    clock,
    loadAverage: () => [0.5, 0.25, 0.125],
    config: {
      grpc_address: "127.0.0.1:50051",
      tokenizer_id: "kakeya-tiny",
      duration_s_target: 60,
      turn_spacing_s: 0,
      max_tokens: 64,
      turns_target: null,
      checkpoint_every_s: 600,
      warm_up_turns: 0,
      workload: "built-in",
      workload_messages: 6,
      template: "raw",
      control: "none",
      own_server: false,
    },
    world: {
      version: "0.0.0-test",
      commit: null,
      model_id: "kakeya-tiny",
      model_fingerprint: "00",
      architecture: "Qwen3ForCausalLM",
      quantization: "q8",
      sink: 4,
      window: 64,
      block: 32,
      kv_bytes_per_token: 3072,
      exact: true,
      vocab_size: 2048,
      cpu_model: "none",
      cores: 1,
      memory_total_bytes: 1,
      os: "none",
      load_average_start: [0, 0, 0],
      command_line: ["kakeya", "bench"],
    },
  });
}

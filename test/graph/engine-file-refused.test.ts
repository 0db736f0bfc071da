import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EngineFileOptions } from "../../src/graph/engine-file.ts";
import { smallDisk, whyNoSmallDisk } from "../files/small-disk.ts";
import { scratchDir } from "../scratch.ts";
import { copyOf, editJson, enginesIn, ensure, golden } from "./engine-files.ts";

/** Overwrites the last bf16 weight of a golden model. */
function writeLastWeight(modelDir: string, bits: number): void {
  const file = join(modelDir, "model.safetensors");
  const bytes = readFileSync(file);
  bytes.writeUInt16LE(bits, bytes.length - 2);
  writeFileSync(file, bytes);
}

describe("Nothing is left behind, and the error says what to do, when", () => {
  async function expectRefused(
    modelDir: string,
    cacheDir: string,
    message: RegExp,
    options: Partial<EngineFileOptions> = {},
  ) {
    await expect(ensure(modelDir, cacheDir, options)).rejects.toThrow(message);
    expect(enginesIn(cacheDir)).toEqual([]);
  }

  test("the configuration is of another model than the weights", async () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    editJson(join(dir, "config.json"), { intermediate_size: 128 });
    await expectRefused(
      dir,
      scratch.path,
      /model\.safetensors: tensor .*mlp\.gate_proj\.weight has the shape \[160, 64\], but config\.json asks for \[128, 64\]/,
    );
  });

  test("a tensor is missing", async () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    editJson(join(dir, "config.json"), { tie_word_embeddings: false });
    await expectRefused(dir, scratch.path, /tensor lm_head\.weight is in none of the weight files/);
  });

  test.each(["f32", "q8", "q4"] as const)("a weight is no number (%s)", async (quantization) => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    writeLastWeight(dir, 0x7fc0);
    await expectRefused(
      dir,
      scratch.path,
      /model\.safetensors: tensor model\..* holds infinities or NaNs\. .*download it again/,
      { quantization },
    );
  });

  test.each([1, 2])("the checkpoint is written to meanwhile (threads: %i)", async (threads) => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    const onProgress = () => writeLastWeight(dir, 0x3c00);
    const message = /model\.safetensors: was changed while it was in use\. /;
    await expectRefused(dir, scratch.path, message, { threads, onProgress });
  });

  test("a thread finds something wrong", async () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    writeLastWeight(dir, 0x7fc0);
    await expectRefused(dir, scratch.path, /tensor model\..* holds infinities or NaNs/, { threads: 2 });
  });

  test("the tokenizer has more tokens than the model", async () => {
    using scratch = scratchDir();
    const dir = copyOf("qwen3-tied", scratch.path);
    writeFileSync(join(dir, "tokenizer.json"), JSON.stringify({ model: { vocab: { a: 0, b: 320 } } }));
    await expectRefused(
      dir,
      scratch.path,
      /tokenizer\.json: has token ids up to 320, but the model knows only 320 tokens/,
    );
  });

  test("the cache is a file", async () => {
    using scratch = scratchDir();
    const file = join(scratch.path, "cache");
    writeFileSync(file, "");
    await expect(ensure(golden("qwen3-tied"), file)).rejects.toThrow(/can't be written.* set KAKEYA_CACHE_DIR/);
  });

  const reason = whyNoSmallDisk();
  describe.skipIf(reason !== undefined)(
    `on a disk of its own${reason === undefined ? "" : ` (skipped: ${reason})`}`,
    () => {
      test("there is too little space from the start", async () => {
        using disk = smallDisk(64 << 10);
        await expectRefused(
          golden("qwen3-tied"),
          disk.path,
          /engines: the engine file takes 0\.\d MB, and 0\.1 MB are free here\. Free some space/,
        );
      });

      test("the disk fills up in the middle", async () => {
        using disk = smallDisk(1 << 20);
        const onProgress = () => {
          const filler = join(disk.path, "filler");
          if (!existsSync(filler)) expect(() => writeFileSync(filler, Buffer.alloc(1 << 20))).toThrow("ENOSPC");
        };
        await expectRefused(
          golden("qwen3-tied"),
          disk.path,
          /the disk is full .*Free some space, or set KAKEYA_CACHE_DIR/,
          {
            onProgress,
          },
        );
      });

      test("the cache is read-only; what is already built in it still serves", async () => {
        using disk = smallDisk(1 << 20);
        const built = await ensure(golden("qwen3-tied"), disk.path);
        disk.remount("ro");
        expect(await ensure(golden("qwen3-tied"), disk.path)).toEqual(built);
        await expect(ensure(golden("qwen2-bias"), disk.path)).rejects.toThrow(
          /can't be written .*EROFS.* set KAKEYA_CACHE_DIR/,
        );
        expect(enginesIn(disk.path).length).toBe(1);
      });
    },
  );
});

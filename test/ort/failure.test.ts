import { expect, test } from "bun:test";
import { failureOf } from "../../src/ort/failure.ts";

test("of a failure of ONNX Runtime people read why, and not where in its source", () => {
  const place =
    "/onnxruntime_src/onnxruntime/core/providers/webgpu/buffer_manager.cc:641 void Download(WGPUBuffer, void*) const map_async_result.status == wgpu::MapAsyncStatus::Success was false. ";
  const why = "Failed to download data from buffer. message: [Device] is lost.";
  expect(failureOf(new Error(`${place}${why}\n`))).toBe(why);
  expect(failureOf(new Error("Load model failed:\nno such file"))).toBe("Load model failed: no such file");
  expect(failureOf("plain")).toBe("plain");
});

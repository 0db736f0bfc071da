import type { JsonFields } from "./json-file.ts";

/**
 * The angles by which one position rotates each pair of a head, in radians: [headDim / 2].
 *
 * Reads `rope_parameters` (transformers 5) or the older pair `rope_scaling` and `rope_theta`. Scalings that change the
 * frequencies once and for all are applied here ("linear" of arXiv 2306.15595, "llama3"); the others ("yarn",
 * "dynamic", "longrope") are refused by name.
 */
export function readInverseFrequencies(config: JsonFields, headDim: number): Float64Array {
  const rope = config.object("rope_parameters") ?? config.object("rope_scaling");
  const theta = rope?.has("rope_theta") ? rope.positive("rope_theta") : config.positive("rope_theta", 10_000);
  refusePartialRotation(config);
  if (rope !== undefined) refusePartialRotation(rope);

  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
  if (rope === undefined) return plain;

  const typeField = rope.has("rope_type") ? "rope_type" : "type";
  const type = rope.text(typeField, "default");
  switch (type) {
    case "default":
      refuseUnread(rope);
      return plain;
    case "linear": {
      const factor = rope.positive("factor");
      return plain.map((frequency) => frequency / factor);
    }
    case "llama3":
      return llama3(rope, plain);
    default:
      throw rope.error(
        typeField,
        `is ${JSON.stringify(type)}, a RoPE scaling that kakeya does not know`,
        'Use a checkpoint with "default", "linear" or "llama3"',
      );
  }
}

/** Long wavelengths are divided by `factor`, short ones kept, those between blended. */
function llama3(rope: JsonFields, plain: Float64Array): Float64Array {
  const factor = rope.positive("factor");
  const low = rope.positive("low_freq_factor");
  const high = rope.positive("high_freq_factor");
  const original = rope.count("original_max_position_embeddings");
  if (high <= low) {
    throw rope.error("high_freq_factor", `is ${high}, not above low_freq_factor ${low}`, "Download the file again");
  }
  return plain.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    const keep = Math.min(1, Math.max(0, (original / wavelength - low) / (high - low)));
    return (1 - keep) * (frequency / factor) + keep * frequency;
  });
}

function refusePartialRotation(fields: JsonFields): void {
  const factor = fields.positive("partial_rotary_factor", 1);
  if (factor === 1) return;
  throw fields.error(
    "partial_rotary_factor",
    `is ${factor}: only a part of each head would be rotated`,
    "Use a checkpoint that rotates whole heads",
  );
}

/** Parameters for each kind of layer (`{"full_attention": {...}}`) would be silently ignored. */
function refuseUnread(rope: JsonFields): void {
  for (const [field, value] of Object.entries(rope.values)) {
    if (typeof value !== "object" || value === null) continue;
    throw rope.error(field, "is a group of its own", "Use a checkpoint with one set of RoPE parameters for all layers");
  }
}

import type { BunPlugin } from "bun";

/**
 * protobufjs looks for the package `long` by a `require` that a bundler can't see. Left alone, the executable would
 * search node_modules of whatever folder it is started in, and behave by what it finds there.
 */
export const bundleLong: BunPlugin = {
  name: "bundle-long",
  setup(build) {
    build.onLoad({ filter: /[\\/]@protobufjs[\\/]inquire[\\/]index\.js$/ }, () => ({
      contents: `
const modules = { long: () => require("long"), buffer: () => require("node:buffer") };
module.exports = (name) => modules[name]?.() ?? null;`,
      loader: "js",
    }));
  },
};

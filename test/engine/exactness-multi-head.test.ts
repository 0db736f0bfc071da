import { testExactness } from "./exactness.ts";

testExactness("multi-head");

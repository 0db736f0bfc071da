import { testExactness } from "./exactness.ts";

testExactness("llama3-rope");

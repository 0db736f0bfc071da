/** Reports against their JSON Schemas (report.v1.schema.json, report.v2.schema.json). */

import { Ajv, type ErrorObject } from "ajv";
import type { Report, ReportV1, ReportV2 } from "./report.ts";
import v1 from "./report.v1.schema.json";
import v2 from "./report.v2.schema.json";

// AJV's strict types would have each branch of a turn repeat that it is an object.
const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false });
const isV1 = ajv.compile<ReportV1>(v1);
const isV2 = ajv.compile<ReportV2>(v2);

/** Throws an error that points at the field, for example "/turns/3/latency_s must be number, is null". */
export function checkedReport(value: unknown): Report {
  if (typeof value !== "object" || value === null || !("schema_version" in value)) {
    throw new Error("not a bench report: /schema_version is missing");
  }
  if (isDeeperThan(mostLevels, value))
    throw new Error(`not a bench report: nested more than ${mostLevels} levels deep`);
  if (value.schema_version !== 1 && value.schema_version !== 2) {
    throw new Error(`/schema_version must be 1 or 2, is ${JSON.stringify(value.schema_version)}`);
  }
  const isReport = value.schema_version === 1 ? isV1 : isV2;
  if (isReport(value)) return value;
  throw new Error(describe(isReport.errors ?? [], value));
}

/** A report has five levels. One with many thousands would overflow the stack of whatever walks it. */
const mostLevels = 32;

/** Level by level, so that no depth is too much. */
function isDeeperThan(levels: number, tree: object): boolean {
  let level: object[] = [tree];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === levels) return true;
    const below: object[] = [];
    for (const node of level) {
      for (const child of Object.values(node)) if (typeof child === "object" && child !== null) below.push(child);
    }
    level = below;
  }
  return false;
}

/** The first error that names a field; "if" errors only repeat the one of their branch. */
function describe(errors: readonly ErrorObject[], value: unknown): string {
  const error = errors.find((e) => e.keyword !== "if");
  if (error === undefined) return "not a bench report";
  const { keyword, instancePath, params } = error;
  if (keyword === "required") return `${instancePath}/${params.missingProperty} is missing`;
  const rule = keyword === "const" ? `must be ${JSON.stringify(params.allowedValue)}` : error.message;
  const found = JSON.stringify(at(value, instancePath));
  return `${instancePath} ${rule?.replace(",", " or ")}, is ${found.length > 60 ? `${found.slice(0, 60)}...` : found}`;
}

/** The value a JSON Pointer (RFC 6901) leads to. */
function at(value: unknown, pointer: string): unknown {
  let here = value;
  for (const step of pointer.split("/").slice(1)) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    here = typeof here === "object" && here !== null ? Reflect.get(here, key) : undefined;
  }
  return here;
}

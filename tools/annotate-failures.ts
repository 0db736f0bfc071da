/** Prints each failure of a JUnit report as an annotation of GitHub Actions: `bun tools/annotate-failures.ts junit.xml`. */

/** Failed test cases of the report that `bun test --reporter=junit` writes, in its order. */
export function annotations(junit: string): string[] {
  const cases = [...junit.matchAll(/<testcase ([^>]*[^/])>([\s\S]*?)<\/testcase>/g)];
  return cases.flatMap(([, attributes = "", body = ""]) => {
    const failure = body.match(/<failure([^>]*)>?([\s\S]*?)(?:<\/failure>|\/>|$)/);
    if (failure === null) return [];
    const value = (name: string) => text(attributes.match(new RegExp(`(?:^| )${name}="([^"]*)"`))?.[1] ?? "");
    const message = text(failure[1]?.match(/message="([^"]*)"/)?.[1] ?? "") || text(failure[2] ?? "").trim();
    const place = `file=${property(value("file"))},line=${property(value("line") || "1")}`;
    return [`::error ${place},title=${property(value("name"))}::${data(message || "failed")}`];
  });
}

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/** XML's text, decoded. */
function text(xml: string): string {
  return xml
    .replace(/&#(?:x([\da-f]+)|(\d+));/gi, (_, hex, decimal) =>
      String.fromCodePoint(Number(hex ? `0x${hex}` : decimal)),
    )
    .replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => entities[name] ?? "");
}

/** Escaped as workflow commands want it, so that a message of several lines stays one annotation. */
function data(message: string): string {
  return message.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function property(value: string): string {
  return data(value).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

if (import.meta.main) {
  for (const file of process.argv.slice(2))
    for (const line of annotations(await Bun.file(file).text())) console.log(line);
}

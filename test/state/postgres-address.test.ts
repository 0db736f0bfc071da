import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectionOptions, hasPassword, isPostgresUrl, shownUrl } from "../../src/state/postgres/address.ts";
import { scratchDir } from "../scratch.ts";

test("a URL names a host, or the folder of a socket", () => {
  expect(connectionOptions({ url: "postgres://ann:s%40cret@db:6543/state" })).toMatchObject({
    ...{ hostname: "db", port: 6543, username: "ann", password: "s@cret", database: "state" },
  });
  expect(connectionOptions({ url: "postgresql://ann@[::1]/" })).toMatchObject({
    hostname: "::1",
    port: 5432,
    database: "ann",
  });
  expect(connectionOptions({ url: "postgres://ann@localhost/state?host=/run/pg" })).toMatchObject({
    path: "/run/pg/.s.PGSQL.5432",
  });
});

test("a password file is read for each connection", () => {
  using scratch = scratchDir();
  const passwordFile = join(scratch.path, "password");
  const { password } = Object(connectionOptions({ url: "postgres://ann@db/state", passwordFile }));
  if (typeof password !== "function") throw new Error("a password is read when it is needed");
  expect(() => password()).toThrow("the password of the database can't be read");
  for (const word of ["first", "second"]) {
    writeFileSync(passwordFile, `${word}\n`);
    expect(password()).toBe(word);
  }
});

test.each([
  ["mysql://db/state", "mysql://db/state is no URL such as postgres://user@host:5432/database"],
  ["postgres://ann:secret@db:port/state", "postgres://...@db:port/state is no URL such as"],
  [
    "postgres://ann:secret@db/state?ssl=on",
    'postgres://ann@db/state?ssl=on has the parameter "ssl"; known are sslmode,',
  ],
  [
    "postgres://ann:secret@db/state?sslmode=maybe",
    "postgres://ann@db/state?sslmode=maybe has sslmode=maybe; there are",
  ],
  ["postgres://ann@db/state?sslrootcert=/nowhere", "the sslrootcert of the database can't be read"],
])("%s is refused, without its password", (url, words) => {
  expect(() => connectionOptions({ url })).toThrow(words);
});

test("what is shown of a URL has no password", () => {
  expect(shownUrl("postgres://ann:secret@db/state")).toBe("postgres://ann@db/state");
  expect([hasPassword("postgres://ann:secret@db/state"), hasPassword("postgres://ann@db/state")]).toEqual([
    true,
    false,
  ]);
  expect(["postgres://a", "postgresql://a", "/srv/state", "mysql://a"].map(isPostgresUrl)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

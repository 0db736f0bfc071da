/** The page in a real browser. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { type Browser, launch, type Page } from "puppeteer-core";
import { chromium } from "../report/chromium.ts";
import { testEngine } from "../serve/serving.ts";
import { type HttpServing, servingHttp, withoutEnd } from "./serving-http.ts";

// A browser may have to be installed first.
setDefaultTimeout(300_000);

test("the page forbids everything that it does not bring along", async () => {
  await using server = await servingHttp();
  const response = await fetch(server.url);
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toStartWith("default-src 'none'; script-src 'sha256-");
  expect(policy).not.toContain("unsafe");
  expect(await response.text()).not.toMatch(/(?:src|href)="(?!data:)|@import|url\(/);
});

const browserPath = chromium();

describe.skipIf(browserPath === null)("in a browser", () => {
  let browser: Browser;
  let server: HttpServing;
  beforeAll(async () => {
    browser = await launch({ executablePath: browserPath ?? "", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
    server = await servingHttp();
  });
  afterAll(async () => {
    await browser.close();
    await server[Symbol.asyncDispose]();
  });

  /** The page, and what went wrong in it or was asked for elsewhere. */
  async function opened(url = server.url): Promise<{ page: Page; faults: string[] }> {
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") faults.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith("data:")) faults.push(request.url());
    });
    await page.goto(url);
    return { page, faults };
  }

  const textOf = (page: Page, id: string) => page.$eval(`#${id}`, (element) => element.textContent ?? "");

  /** By the keyboard alone. */
  async function ask(page: Page, question: string): Promise<void> {
    await page.focus("#question");
    await page.keyboard.type(question);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#log")?.ariaBusy === "false");
  }

  test("it answers, and shows that a turn costs its own tokens", async () => {
    const { page, faults } = await opened();
    for (const question of ["what is a session?", "what is a cache?", "hello"]) await ask(page, question);
    const said = await page.$$eval("#log h3", (headings) => headings.map(({ textContent }) => textContent));
    expect(said).toEqual(["you", "kakeya", "you", "kakeya", "you", "kakeya"]);
    const [history, computed, cached] = [
      Number((await textOf(page, "history")).replace(",", "")),
      Number(await textOf(page, "computed")),
      Number(await textOf(page, "cached")),
    ];
    expect(history).toBe(computed + cached);
    expect(cached).toBeGreaterThan(computed);
    expect(await page.$eval("#computed-plot", (plot) => plot.getAttribute("aria-label"))).toMatch(
      /^Tokens computed, turn by turn: \d+, \d+, \d+$/,
    );
    expect(await page.$$eval("canvas", (all) => all.filter(({ width }) => width > 0).length)).toBe(2);
    await page.waitForFunction(() => document.querySelector("#sessions")?.textContent?.endsWith(" of 4"));
    expect(faults).toEqual([]);
    await page.close();
  });

  test.each([
    ["light", 1280, 800],
    ["dark", 1280, 800],
    ["light", 390, 844],
    ["dark", 390, 844],
  ])("it fits: %s, %d pixels wide", async (scheme, width, height) => {
    const { page, faults } = await opened();
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    const folder = process.env.KAKEYA_SCREENSHOTS;
    const questions = ["what is a session?", "and what is a cache?", "hello", "what is latency?"];
    for (let turn = 0; turn < (folder ? 24 : 2); turn++) await ask(page, questions[turn % questions.length] ?? "");
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(beyond).toBeLessThanOrEqual(0);
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(ground).toBe(scheme === "dark" ? "rgb(17, 22, 29)" : "rgb(255, 255, 255)");
    if (folder) {
      const size = width > 1000 ? "desktop" : "phone";
      await page.waitForFunction(() => document.querySelector("#resident")?.textContent !== "-");
      await page.screenshot({ path: join(folder, `page-${size}-${scheme}.png`) as `${string}.png`, fullPage: true });
    }
    expect(faults).toEqual([]);
    await page.close();
  });

  test("every control has a name, and is reached by the keyboard", async () => {
    const { page } = await opened();
    const tree = JSON.stringify(await page.accessibility.snapshot());
    for (const name of ["Your message", "Send", "New", "Conversation", "This session", "The server"]) {
      expect(tree).toContain(`"name":"${name}"`);
    }
    await page.focus("#question");
    const reached: string[] = [];
    for (let i = 0; i < 2; i++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement?.id ?? ""));
    }
    expect(reached).toEqual(["send", "new"]);
    await page.close();
  });

  test("an answer can be stopped, and the conversation goes on", async () => {
    const endless = await servingHttp({ engine: withoutEnd(await testEngine()) });
    const { page, faults } = await opened(endless.url);
    await page.type("#question", "hello");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll("#log article").length === 2);
    await page.click("#stop");
    await page.waitForFunction(() => document.querySelector("#log")?.ariaBusy === "false");
    const said = Number((await textOf(page, "history")).replace(",", ""));
    expect(said).toBeGreaterThan(11);
    await page.type("#question", "and?");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll("#log article").length === 4);
    await page.click("#stop");
    await page.waitForFunction(() => document.querySelector("#log")?.ariaBusy === "false");
    expect(Number((await textOf(page, "cached")).replace(",", ""))).toBe(said);
    expect(faults).toEqual([]);
    await page.close();
    await endless[Symbol.asyncDispose]();
    await endless.engine.close();
  });

  test("a server with a token is asked for once, and then it is kept by the page alone", async () => {
    await using closed = await servingHttp({ token: "correct-horse" });
    const { page } = await opened(closed.url);
    await page.waitForSelector("#token-form:not([hidden])");
    await page.type("#token", "correct-horse");
    await page.keyboard.press("Enter");
    await ask(page, "hello");
    expect(await page.$$eval("#log h3", (all) => all.length)).toBe(2);
    expect(await page.evaluate(() => localStorage.length + sessionStorage.length + document.cookie.length)).toBe(0);
    await page.close();
  });
});

const months = "January February March April May June July August September October November December".split(" ");
const days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

const two = (value: number) => String(value).padStart(2, "0");

/** The directives that chat templates use, of Python's strftime, in local time. */
const directives: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  m: (date) => two(date.getMonth() + 1),
  d: (date) => two(date.getDate()),
  B: (date) => months[date.getMonth()] ?? "",
  b: (date) => (months[date.getMonth()] ?? "").slice(0, 3),
  A: (date) => days[date.getDay()] ?? "",
  a: (date) => (days[date.getDay()] ?? "").slice(0, 3),
  H: (date) => two(date.getHours()),
  I: (date) => two(date.getHours() % 12 || 12),
  M: (date) => two(date.getMinutes()),
  S: (date) => two(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  y: (date) => two(date.getFullYear() % 100),
  "%": () => "%",
};

/**
 * Python's `date.strftime(format)` in its default, English locale: the machine's language must not change a prompt.
 *
 * @throws Error for a directive that no known chat template uses.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(.?)/gs, (directive, letter: string) => {
    const write = Object.hasOwn(directives, letter) ? directives[letter] : undefined;
    if (write === undefined) throw new Error(`strftime_now does not know ${JSON.stringify(directive)}`);
    return write(date);
  });
}

/**
 * How this process would start another kakeya: the executable, or bun and the entry file when it runs from sources.
 */
export function selfCommand(): string[] {
  const isCompiled = /^(\/\$bunfs\/|[A-Z]:[/\\]~BUN[/\\])/.test(Bun.main);
  return isCompiled ? [process.execPath] : [process.execPath, Bun.main];
}

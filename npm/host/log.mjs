// What the host says on stderr, from one level up.

const LEVELS = ["error", "warn", "info", "debug"];

/** A log with a method for each level. */
export function openLog(level, write = (line) => process.stderr.write(line)) {
  const shown = LEVELS.indexOf(level);
  const say = (name) => (message) => write(`${new Date().toISOString()} ${name.toUpperCase().padEnd(5)} ${message}\n`);
  return Object.fromEntries(LEVELS.map((name, rank) => [name, rank <= shown ? say(name) : () => {}]));
}

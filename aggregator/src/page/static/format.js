// Numbers and times as people read them. Everything here is pure but for `serverNow`.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const few = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const two = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const clockMillis = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

let clockOffset = 0;

/** Takes the server's clock as the truth, so that a wrong clock in the browser shows no event as "in 3 h". */
export function setServerNow(rfc3339) {
  const server = Date.parse(rfc3339);
  if (Number.isFinite(server)) clockOffset = server - Date.now();
}

/** Milliseconds of the server's clock. */
export function serverNow() {
  return Date.now() + clockOffset;
}

export function integer(value) {
  return whole.format(value);
}

/** A measured value: whole and large numbers without decimals, others with two, tiny ones with three digits. */
export function measure(value) {
  if (Number.isInteger(value) || Math.abs(value) >= 100_000) return whole.format(value);
  return Math.abs(value) >= 0.1 ? two.format(value) : small.format(value);
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? whole.format(value) : few.format(value)} ${units[unit]}`;
}

/** "4 s ago", "in 2 min": one unit, rounded down. */
export function relative(millis, now = serverNow()) {
  const delta = now - millis;
  const ahead = delta < -1500;
  const seconds = Math.floor(Math.abs(delta) / 1000);
  if (!ahead && seconds < 2) return "just now";
  const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = steps.find(([step]) => seconds >= step) ?? [1, "s"];
  const text = `${Math.floor(seconds / size)} ${unit}`;
  return ahead ? `in ${text}` : `${text} ago`;
}

export function absolute(millis) {
  return `${new Date(millis).toLocaleString()} (${new Date(millis).toISOString()})`;
}

/** "12:03:04.567", with the day in front when it is not today's. */
export function moment(millis) {
  return dayBefore(millis) + clockMillis.format(new Date(millis));
}

/** A length of time in two units at most: "0 ms", "1.25 s", "2 min 5 s", "3 d 4 h". Of clocks that differ it may be less than nothing. */
export function lapse(millis) {
  if (millis < 0) return `−${lapse(-millis)}`;
  if (millis < 1000) return `${whole.format(millis)} ms`;
  if (millis < 60_000) return `${few.format(millis / 1000)} s`;
  const steps = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"]];
  const at = steps.findIndex(([size]) => millis >= size);
  const [[size, unit], [below, belowUnit]] = [steps[at], steps[at + 1]];
  const rest = Math.floor((millis % size) / below);
  return `${whole.format(Math.floor(millis / size))} ${unit}${rest > 0 ? ` ${rest} ${belowUnit}` : ""}`;
}

/** "12:03 – 12:04", with the day in front when it is not today's, with seconds for windows that need them. */
export function span(start, end) {
  const needsSeconds = start % 60000 !== 0 || end % 60000 !== 0;
  const time = needsSeconds ? clockSeconds : clock;
  return `${dayBefore(start)}${time.format(new Date(start))} – ${time.format(new Date(end))}`;
}

/** "3 Feb, ", or nothing for today. */
function dayBefore(millis) {
  const date = new Date(millis);
  const today = new Date(serverNow()).toDateString() === date.toDateString();
  return today ? "" : `${day.format(date)}, `;
}

/** A share from 0 to 1. Never rounded up to all of it. */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 1) return `${small.format(value)} %`;
  return `${whole.format(value >= 99.5 && value < 100 ? 99 : value)} %`;
}

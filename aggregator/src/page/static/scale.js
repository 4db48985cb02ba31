// Where values and times lie on an axis, and which of them are written beside it. Pure.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Distances between ticks of time that people read easily. */
const TIME_STEPS = [
  SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND,
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 182 * DAY, 364 * DAY,
];

/** A value between `from` and `to` as a place between `start` and `end`. */
export function linear(from, to, start, end) {
  const factor = (end - start) / (to - from || 1);
  return (value) => start + (value - from) * factor;
}

/** The smallest of 1, 2, 5, 10, 20, 50 … that is no smaller than this. */
function niceStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 5].find((one) => one * power >= step * (1 - 1e-9));
  return factor === undefined ? 10 * power : factor * power;
}

/** Round values from at or below `min` to at or above `max`, about `count` of them. */
export function valueTicks(min, max, count) {
  const span = max - min || Math.abs(max) || 1;
  const step = niceStep(span / Math.max(1, count));
  const first = Math.floor(min / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(max / step - 1e-9));
  // counted, not added up: a sum of tenths is no tenth
  return Array.from({ length: last - first + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

/** What an axis must span: from zero unless all values lie close together and far from it. */
export function valueRange(min, max) {
  if (!(min <= max)) return [0, 1];
  if (min === max) return min === 0 ? [0, 1] : [Math.min(0, min), Math.max(0, max)];
  if (min >= 0 && min < 0.6 * max) return [0, max];
  if (max <= 0 && max > 0.6 * min) return [min, 0];
  return [min, max];
}

/** Round times of the reader's clock within a span, at most `count`, with the distance between them. */
export function timeTicks(from, to, count) {
  const step = TIME_STEPS.find((one) => (to - from) / one <= count) ?? TIME_STEPS.at(-1);
  // whole in local time, so that days begin at midnight; the offset of the middle serves for all but a day of change
  const offset = new Date((from + to) / 2).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) ticks.push(at);
  return { ticks, step };
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** A tick's words: its time, or its date where a day begins. */
export function timeLabel(at, step) {
  const date = new Date(at);
  if (step >= DAY || (date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0)) return day.format(date);
  return (step < MINUTE ? seconds : clock).format(date);
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

/** A tick's value in few characters: 12.5k, 0.002. */
export function valueLabel(value) {
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(1);
  const [factor, prefix] = PREFIXES.find(([one]) => size >= 10 * one || (size >= one && one > 1e3)) ?? [1, ""];
  return plain.format(value / factor) + prefix;
}

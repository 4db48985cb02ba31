// From rows to what is drawn: which groups, their points, where nothing is. Pure.

/** More lines than this cannot be told apart. */
export const MAX_SERIES = 8;
/** Two windows of a hopping view follow one another when they are at most so many steps apart. */
const STEP_TOLERANCE = 1.5;

/** A column's value of a row when it is a number. */
export function numberOf(row, column) {
  const value = row[column];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/**
 * Groups by how much they are worth drawing: the largest sum of what is shown first. A sum changes slowly, so the
 * lines that are drawn seldom change.
 */
export function ranked(groups, column, within = () => true) {
  const scored = [];
  for (const group of groups) {
    let sum = 0;
    let count = 0;
    for (const point of group.points) {
      if (!within(point)) continue;
      count += 1;
      sum += Math.abs(numberOf(point.row, column) ?? 0);
    }
    if (count > 0) scored.push({ group, sum });
  }
  scored.sort((a, b) => b.sum - a.sum || (a.group.name < b.group.name ? -1 : 1));
  return scored.map(({ group }) => group);
}

/** A filter of points by time: windows that begin in the range. */
export function withinRange({ from = -Infinity, to = Infinity }) {
  return (point) => point.start >= from && point.start < to;
}

/** The points of one line. */
export function lineOf(group, column, within) {
  const points = group.points.filter(within).map((point) => ({
    start: point.start,
    end: point.end,
    value: numberOf(point.row, column),
    state: point.state,
    amended: point.amended,
    overflow: group.overflow,
  }));
  return { name: group.name || column, key: group.key, overflow: group.overflow, points };
}

/** The points of one group's percentiles: {start, …, values: one for each of `columns`}. */
export function bandOf(group, columns, within) {
  const points = group.points.filter(within).map((point) => ({
    start: point.start,
    end: point.end,
    values: columns.map((column) => numberOf(point.row, column.name)),
    state: point.state,
    amended: point.amended,
  }));
  return { name: group.name, key: group.key, points };
}

const OPENNESS = { final: 0, complete: 1, open: 2 };

/**
 * The windows of some groups, oldest first: {start, end, state, amended}. A window is as open as its most open group.
 */
export function windowsOf(groups, within) {
  const windows = new Map();
  for (const { points } of groups) {
    for (const point of points) {
      if (!within(point)) continue;
      const { start, end, state, amended } = point;
      const known = windows.get(start);
      if (!known) {
        windows.set(start, { start, end, state, amended });
        continue;
      }
      if (end > known.end) known.end = end;
      known.amended ||= amended;
      if (OPENNESS[state] > OPENNESS[known.state]) known.state = state;
    }
  }
  return [...windows.values()].sort((a, b) => a.start - b.start);
}

/** From one window's start to the next one's, where windows overlap; undefined where one ends as the next begins. */
export function hopOf(kind, windows) {
  if (kind !== "hop") return undefined;
  let step = Infinity;
  for (let at = 1; at < windows.length; at += 1) step = Math.min(step, windows[at].start - windows[at - 1].start);
  return Number.isFinite(step) ? step : undefined;
}

/** Whether a window is missing between two points. */
export function isGap(before, after, hop) {
  if (hop !== undefined) return after.start - before.start > STEP_TOLERANCE * hop;
  return after.start > before.end;
}

/** Spans in which no line has a window: [{start, end}]. */
export function gapsOf(windows, hop) {
  const gaps = [];
  for (let at = 1; at < windows.length; at += 1) {
    const [before, after] = [windows[at - 1], windows[at]];
    if (isGap(before, after, hop)) gaps.push({ start: hop === undefined ? before.end : before.start + hop, end: after.start });
  }
  return gaps;
}

/** Each group at its newest window, for bars: [{name, key, value, start, end, state, amended}], largest first. */
export function newestOf(groups, column, within) {
  let newest = -Infinity;
  let newestComplete = -Infinity;
  for (const group of groups) {
    for (const point of group.points) {
      if (!within(point)) continue;
      newest = Math.max(newest, point.start);
      if (point.state !== "open") newestComplete = Math.max(newestComplete, point.start);
    }
  }
  const start = Number.isFinite(newestComplete) ? newestComplete : newest;
  const bars = [];
  for (const group of groups) {
    const point = group.points.findLast((one) => one.start === start);
    const value = point && numberOf(point.row, column);
    if (value === undefined || value === null) continue;
    const { end, amended } = point;
    bars.push({ name: group.name || column, key: group.key, overflow: group.overflow, value, start, end, state: point.state, amended });
  }
  return bars.sort((a, b) => b.value - a.value || (a.name < b.name ? -1 : 1));
}

/** The smallest and the largest of what is drawn: [min, max], min > max when there is nothing. */
export function extent(lines) {
  let [min, max] = [Infinity, -Infinity];
  for (const { points } of lines) {
    for (const point of points) {
      for (const value of point.values ?? [point.value]) {
        if (value === null) continue;
        if (value < min) min = value;
        if (value > max) max = value;
      }
    }
  }
  return [min, max];
}

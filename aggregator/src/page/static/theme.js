// Colours for canvases, from the style sheet's custom properties. Read once for each colour scheme.

const NAMES = ["ink", "muted", "line", "grid", "card", "accent", "accent-soft", "warn", "final", "hatch"];
const SERIES = 8;

const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let colors;

/** {ink, muted, …, series: [8 colours], font}. */
export function theme() {
  if (!colors) {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    colors = Object.fromEntries(NAMES.map((name) => [name, read(name)]));
    colors.series = Array.from({ length: SERIES }, (_, at) => read(`series-${at + 1}`));
    colors.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  }
  return colors;
}

export function onThemeChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

dark.addEventListener("change", () => {
  colors = undefined;
  for (const listener of listeners) listener();
});

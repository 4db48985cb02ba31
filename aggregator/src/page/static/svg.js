// SVG elements, and texts that fit into what they are drawn in. Data only ever enters through textContent and attributes.

const NAMESPACE = "http://www.w3.org/2000/svg";

/** Measures texts in the page's font. */
let measuring;

/** An SVG element with attributes and children (nodes or texts). */
export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** So much of a text as fits into a width, in pixels. */
function fitting(text, width, size, bold) {
  measuring ??= { context: document.createElement("canvas").getContext("2d"), family: getComputedStyle(document.body).fontFamily };
  const { context, family } = measuring;
  context.font = `${bold ? "600 " : ""}${size}px ${family}`;
  const room = (short) => context.measureText(short).width <= width;
  if (room(text)) return text;
  let [fits, over] = [0, text.length];
  while (over - fits > 1) {
    const middle = (fits + over) >>> 1;
    if (room(`${text.slice(0, middle).trimEnd()}…`)) fits = middle;
    else over = middle;
  }
  return `${text.slice(0, fits).trimEnd()}…`;
}

/** Text that says all of itself when pointed at, also where it is cut short. */
export function textNode(text, { width, size, bold = false, ...attributes }) {
  const short = fitting(text, width, size, bold);
  const node = svg("text", { "font-size": size, "font-weight": bold ? 600 : null, ...attributes }, short);
  if (short !== text) node.append(svg("title", {}, text));
  return node;
}

/** Draws again when the width of a node changes; `draw(width)`. */
export function onWidth(node, draw) {
  let drawn;
  const observer = new ResizeObserver(([{ contentRect }]) => {
    const width = Math.floor(contentRect.width);
    if (width === drawn || width === 0) return;
    drawn = width;
    draw(width);
  });
  observer.observe(node);
  return observer;
}

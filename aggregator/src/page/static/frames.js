// When things are drawn: in one animation frame together, only what is in view, and no longer than a part of a
// frame at a time. What is left waits for the next frame, what is out of view until it comes into it.

/** Milliseconds of one frame that drawing may take: the rest is for the browser. */
const BUDGET = 8;
/** Drawn before it scrolls into view, so that nobody sees an empty chart. */
const AHEAD = "300px 0px";

const waiting = new Set();
const visible = new Map();
let requested = false;

function flush() {
  requested = false;
  const end = performance.now() + BUDGET;
  for (const thing of waiting) {
    if (!thing.inView) continue;
    waiting.delete(thing);
    thing.draw();
    if (performance.now() > end) break;
  }
  for (const thing of waiting) {
    if (thing.inView) {
      request();
      return;
    }
  }
}

function request() {
  if (requested) return;
  requested = true;
  requestAnimationFrame(flush);
}

/** Draws a thing ({inView, draw()}) with the next frame in which it is in view. */
export function redraw(thing) {
  waiting.add(thing);
  if (thing.inView) request();
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) visible.get(target)?.(isIntersecting);
  },
  { rootMargin: AHEAD },
);

/** Keeps `thing.inView` true while its node is in view; `seen(inView)` hears of each change. */
export function watch(thing, node, seen = () => {}) {
  thing.inView = false;
  visible.set(node, (inView) => {
    if (thing.inView === inView) return;
    thing.inView = inView;
    if (inView && waiting.has(thing)) request();
    seen(inView);
  });
  observer.observe(node);
}

export function unwatch(thing, node) {
  thing.inView = false;
  observer.unobserve(node);
  visible.delete(node);
  waiting.delete(thing);
}

/** Calls `work` at most once in `every` milliseconds, soon after it was asked for; the last call counts. */
export function calmly(every, work) {
  let timer;
  let done = -Infinity;
  const soon = () => {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      done = performance.now();
      work();
    }, Math.max(0, done + every - performance.now()));
  };
  soon.cancel = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  return soon;
}

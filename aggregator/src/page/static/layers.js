// A graph that mostly leads one way, laid out in columns: who leads to others stands left of them, and lines cross as little as
// a few passes can make them. Pure: the same graph is always laid out the same.

/** Passes over the columns, there and back. More change nothing in graphs that anybody can still read. */
const PASSES = 8;

/**
 * `nodes`: [{id, rank}], where a node of a lower rank is never right of one of a higher rank that it leads to directly;
 * `edges`: [{from, to}]. Answers {columns: [[cell]], lines: [{edge, cells}]}; a cell is {id, column, row}, without an id where a
 * line passes a column.
 */
export function layered(nodes, edges) {
  const known = new Set(nodes.map(({ id }) => id));
  const usable = edges.filter(({ from, to }) => from !== to && known.has(from) && known.has(to));
  const forward = withoutCycles(nodes, usable);
  const columnOf = columnsOf(nodes, forward);
  const columns = Array.from({ length: Math.max(0, ...columnOf.values()) + 1 }, () => []);
  const cells = new Map();
  for (const { id } of nodes) {
    const cell = { id, column: columnOf.get(id), before: [], after: [] };
    cells.set(id, cell);
    columns[cell.column].push(cell);
  }
  const lines = forward.map(({ edge, from, to }) => ({ edge, cells: threaded(columns, cells.get(from), cells.get(to)) }));
  order(columns);
  return { columns, lines };
}

/** Each edge with its ends, turned round where it would close a circle. */
function withoutCycles(nodes, edges) {
  const after = new Map(nodes.map(({ id }) => [id, []]));
  for (const edge of edges) after.get(edge.from).push(edge);
  const state = new Map();
  const forward = [];
  const visit = (id) => {
    state.set(id, "open");
    for (const edge of after.get(id)) {
      const back = state.get(edge.to) === "open";
      forward.push(back ? { edge, from: edge.to, to: edge.from } : { edge, from: edge.from, to: edge.to });
      if (!state.has(edge.to)) visit(edge.to);
    }
    state.set(id, "done");
  };
  for (const { id } of nodes) if (!state.has(id)) visit(id);
  return forward;
}

/** As far left as what leads to a node allows; then each node without any such is moved up to what it leads to. */
function columnsOf(nodes, edges) {
  const rank = new Map(nodes.map(({ id, rank }) => [id, rank ?? 0]));
  const column = new Map(rank);
  const into = new Map(nodes.map(({ id }) => [id, 0]));
  const after = new Map(nodes.map(({ id }) => [id, []]));
  for (const { from, to } of edges) {
    after.get(from).push(to);
    into.set(to, into.get(to) + 1);
  }
  const open = new Map(into);
  const ready = nodes.map(({ id }) => id).filter((id) => open.get(id) === 0);
  for (let id = ready.shift(); id !== undefined; id = ready.shift()) {
    for (const to of after.get(id)) {
      column.set(to, Math.max(column.get(to), column.get(id) + 1));
      open.set(to, open.get(to) - 1);
      if (open.get(to) === 0) ready.push(to);
    }
  }
  return column;
}

/** The cells from one node to another, one in each column between. */
function threaded(columns, from, to) {
  const cells = [from];
  for (let column = from.column + 1; column < to.column; column += 1) {
    const cell = { column, before: [], after: [] };
    columns[column].push(cell);
    cells.push(cell);
  }
  cells.push(to);
  for (let at = 1; at < cells.length; at += 1) {
    cells[at - 1].after.push(cells[at]);
    cells[at].before.push(cells[at - 1]);
  }
  return cells;
}

/** Puts each cell near the middle of its neighbours, column by column, and keeps the order with the fewest crossings. */
function order(columns) {
  const number = () => columns.forEach((cells) => cells.forEach((cell, row) => Object.assign(cell, { row })));
  number();
  let [best, fewest] = [columns.map((cells) => [...cells]), crossings(columns)];
  for (let pass = 0; pass < PASSES && fewest > 0; pass += 1) {
    const forward = pass % 2 === 0;
    const way = forward ? columns : [...columns].reverse();
    for (const cells of way) {
      for (const cell of cells) {
        const beside = forward ? cell.before : cell.after;
        cell.middle = beside.length === 0 ? cell.row : beside.reduce((sum, { row }) => sum + row, 0) / beside.length;
      }
      cells.sort((a, b) => a.middle - b.middle || a.row - b.row);
      cells.forEach((cell, row) => Object.assign(cell, { row }));
    }
    const count = crossings(columns);
    if (count < fewest) [best, fewest] = [columns.map((cells) => [...cells]), count];
  }
  best.forEach((cells, at) => columns[at].splice(0, Infinity, ...cells));
  number();
}

/** How many pairs of lines cross between neighbouring columns. */
export function crossings(columns) {
  let count = 0;
  for (const cells of columns) {
    const ends = cells.flatMap((cell) => cell.after.map(({ row }) => row).sort((a, b) => a - b));
    for (let a = 0; a < ends.length; a += 1) for (let b = a + 1; b < ends.length; b += 1) count += Number(ends[a] > ends[b]);
  }
  return count;
}

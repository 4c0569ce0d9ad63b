// A table that can be sorted.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

/** A column: how a row shows in it, and by what it is sorted. */
export interface Column<R> {
  head: string;
  title?: string;                        // what it means
  show: (r: R) => ComponentChildren;
  by?: (r: R) => number | string | null; // left out: not sortable
  right?: boolean;                       // a number
  wide?: boolean;                        // left out on a narrow screen
}

export function Grid<R>(p: { label: string; columns: Column<R>[]; rows: R[]; row?: (r: R) => { class?: string; onClick?: () => void }; sort?: number; descending?: boolean; most?: number }) {
  const [sort, set] = useState({ column: p.sort ?? -1, down: p.descending ?? true });
  const [all, showAll] = useState(false);
  const by = p.columns[sort.column]?.by;
  let rows = by ? [...p.rows].sort((a, b) => compare(by(a), by(b)) * (sort.down ? -1 : 1)) : p.rows;
  const most = p.most ?? 200, more = rows.length - most;
  if (!all && more > 0) rows = rows.slice(0, most);
  const head = (c: Column<R>, i: number) => {
    const order = sort.column === i ? (sort.down ? "descending" : "ascending") : undefined;
    const turn = () => set(s => ({ column: i, down: s.column === i ? !s.down : !!c.right }));
    return <th key={i} scope="col" class={kind(c)} aria-sort={order} title={c.title}>
      {c.by ? <button type="button" onClick={turn}>{c.head}<span aria-hidden="true" class="arrow">{order ? (sort.down ? "▾" : "▴") : ""}</span></button> : c.head}
    </th>;
  };
  return <div class="scroll" tabIndex={0} role="region" aria-label={p.label}>
    <table>
      <thead><tr>{p.columns.map(head)}</tr></thead>
      <tbody>{rows.map((r, i) => {
        const extra = p.row?.(r) ?? {};
        return <tr key={i} {...extra}>{p.columns.map((c, k) => <td key={k} class={kind(c)}>{c.show(r)}</td>)}</tr>;
      })}</tbody>
    </table>
    {!all && more > 0 && <button type="button" class="more" onClick={() => showAll(true)}>show {more} more</button>}
  </div>;
}

const kind = (c: { right?: boolean; wide?: boolean }) => (c.right ? "right " : "") + (c.wide ? "wide" : "");

function compare(a: number | string | null, b: number | string | null): number {
  if (a === null || b === null) return (a === null ? 0 : 1) - (b === null ? 0 : 1);
  return typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a - b;
}

// Numbers as the command line writes them.

/** A duration in ns: "2.4 s", "131 ms", "5.7 µs". */
export function time(ns: number): string {
  if (ns >= 60e9) return minutes(Math.round(ns / 1e9));
  for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]] as [number, string][]) {
    if (ns >= size) return fixed(ns / size) + " " + unit;
  }
  return Math.round(ns) + " ns";
}

function minutes(s: number): string {
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return (h ? h + "h" : "") + m + "m" + (s % 60) + "s";
}

const fixed = (v: number) => (v >= 100 ? v.toFixed(0) : v.toFixed(1));

/** Bytes, in powers of 1024. */
export function bytes(n: number): string {
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return i ? n.toFixed(1) + " " + units[i] : n + " B";
}

/** A share from 0 to 1. */
export function percent(share: number): string {
  const p = share * 100;
  return (p > 0 && p < 0.05 ? "<0.1" : p >= 99.95 || p === 0 ? p.toFixed(0) : p.toFixed(1)) + "%";
}

/** A whole number, with separators. */
export const count = (n: number) => n.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** A rate: "2,455", "0.12". */
export const rate = (n: number) => (n >= 100 ? count(Math.round(n)) : n >= 10 ? n.toFixed(1) : n.toFixed(2));

const pad = (n: number) => String(n).padStart(2, "0");

/** A moment, in the local zone: "2026-11-26 12:26:02". */
export function moment(at: string | number | Date): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${clock(d)}`;
}

/** The clock of a moment: "12:26:02". */
export function clock(at: string | number | Date): string {
  const d = new Date(at);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

/** Nanoseconds since 1970 of an RFC 3339 time, less those of a base: exact to
 *  the ns although numbers are not that long. */
export function since(at: string, base: string): number {
  const frac = (s: string) => Number((/\.(\d+)/.exec(s)?.[1] ?? "0").padEnd(9, "0"));
  const whole = (s: string) => Date.parse(s.replace(/\.\d+/, ""));
  return (whole(at) - whole(base)) * 1e6 + frac(at) - frac(base);
}

/** An RFC 3339 time, ns after a base. */
export function after(base: string, ns: number): string {
  const t = Date.parse(base.replace(/\.\d+/, ""));
  const all = Number((/\.(\d+)/.exec(base)?.[1] ?? "0").padEnd(9, "0")) + Math.round(ns);
  const seconds = Math.floor(all / 1e9);
  return new Date(t + seconds * 1000).toISOString().replace(/\.\d+Z/, `.${String(all - seconds * 1e9).padStart(9, "0")}Z`);
}

/** Text of others: what does not print shows as a dot, as on the terminal. */
export const printable = (s: string) => s.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "·");

/** A frame of a stack, with the whole path of its Python file. */
export function frame(f: { ip: string; symbol?: string; short?: string; file?: string; py_file?: string; py_func?: string; py_line?: number }): string {
  if (f.py_func || f.py_file) return printable(`[Python] ${f.py_file}:${f.py_line} in ${f.py_func}()`);
  const name = (f.short || f.symbol || "").replace(/\+0x0$/, "");
  if (name && f.file) return printable(`${name} (${f.file})`);
  return printable(name || (f.file ? `(${f.file})` : f.ip));
}

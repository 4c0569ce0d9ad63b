// Pieces that views are made of.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Answer } from "./store";
import { frame, printable } from "./units";
import type { Frame } from "./types";

/** A titled part of a view. */
export function Panel(p: { title: string; id?: string; note?: ComponentChildren; tools?: ComponentChildren; class?: string; children?: ComponentChildren }) {
  return <section class={"panel " + (p.class ?? "")} aria-label={p.title} id={p.id}>
    <header><h2>{p.title}</h2>{p.note && <span class="note">{p.note}</span>}{p.tools && <span class="tools">{p.tools}</span>}</header>
    {p.children}
  </section>;
}

/** Shows an answer, or in words why there is none. */
export function Show<A>(p: { of: Answer<A>; empty?: (a: A) => ComponentChildren; children: (a: A) => ComponentChildren }) {
  const { data, error, busy } = p.of;
  if (error && !data) return <p class="problem" role="alert">{error.message}</p>;
  if (!data) return <p class="quiet wait" aria-busy="true">{busy ? "Reading…" : ""}</p>;
  const empty = p.empty?.(data);
  return <>
    {error && <p class="problem" role="alert">Not up to date: {error.message}</p>}
    {empty ? <div class="empty">{empty}</div> : p.children(data)}
  </>;
}

/** Severity, in a colour, a shape and a word. */
export function Severity({ of }: { of: string }) {
  const shape = { HIGH: "▲", MEDIUM: "◆", LOW: "●" }[of] ?? "○";
  return <span class={"severity " + of.toLowerCase()}><span aria-hidden="true">{shape}</span> {of}</span>;
}

/** A command with a button that copies it. */
export function Command({ text }: { text: string }) {
  const [done, set] = useState("");
  const shown = printable(text);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(shown);
      set("copied");
    } catch {
      set("select it and press Ctrl+C");
    }
    setTimeout(() => set(""), 2000);
  };
  return <div class="command"><code tabIndex={0}>{shown}</code><button type="button" onClick={copy} aria-label={"Copy " + shown}>{done || "copy"}</button></div>;
}

/** A name that came from a traced process. */
export function Name({ comm, pid, href }: { comm: string; pid?: number; href?: string }) {
  const text = <><b class="comm">{printable(comm) || "?"}</b>{pid ? <span class="pid"> {pid}</span> : null}</>;
  return href ? <a href={href}>{text}</a> : <span>{text}</span>;
}

/** A stack, the call first. Of a Python program its lines are shown, not the
 *  interpreter's, unless asked for. */
export function Stack({ frames }: { frames: Frame[] }) {
  const [all, set] = useState(false);
  const python = (f: Frame) => !!(f.py_func || f.py_file);
  const lines = frames.filter((f, i) => i === 0 || python(f)), short = lines.length > 1 && lines.length < frames.length;
  return <>
    <ol class="stack">{(short && !all ? lines : frames).map((f, i) => <li key={i} class={python(f) ? "py" : ""}>{frame(f)}</li>)}</ol>
    {short && <button type="button" class="link" onClick={() => set(!all)}>{all ? "only the lines of Python" : `all ${frames.length} frames`}</button>}
  </>;
}

/** Buttons of which one is chosen. */
export function Choice(p: { label: string; value: string; of: [string, string][]; set: (v: string) => void }) {
  return <span class="choice" role="group" aria-label={p.label}>
    {p.of.map(([v, text]) => <button key={v} type="button" aria-pressed={v === p.value} onClick={() => p.set(v)}>{text}</button>)}
  </span>;
}

/** A dialog; Escape closes it. */
export function Dialog(p: { title: string; close?: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    ref.current!.showModal();
    return () => ref.current?.close();
  }, []);
  return <dialog ref={ref} aria-label={p.title} onCancel={e => { e.preventDefault(); p.close?.(); }}
    onClick={e => { if (e.target === ref.current) p.close?.(); }}>
    <h2>{p.title}</h2>{p.children}
  </dialog>;
}

/** A figure with what it is. */
export function Fact({ label, children, class: c }: { label: string; children: ComponentChildren; class?: string }) {
  return <div class={"fact " + (c ?? "")}><dt>{label}</dt><dd>{children}</dd></div>;
}

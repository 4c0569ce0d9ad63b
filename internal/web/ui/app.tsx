// The page: what is shown where, and the keys.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { onTokenWanted, Params, setToken } from "./api";
import { CapabilitiesView } from "./capabilities";
import { FindingsView } from "./findings";
import { FlameView } from "./flame";
import { GraphsView } from "./graphs";
import { Health } from "./health";
import { LedgerView } from "./ledger";
import { follow, Link } from "./live";
import { OpsView } from "./ops";
import { Dialog } from "./parts";
import { go, href, shared, usePlace } from "./place";
import { SessionsView } from "./sessions";
import { ScopeContext, useWindow } from "./store";
import { SystemView } from "./system";
import { ThievesView } from "./thieves";
import { TimelineView } from "./timeline";
import type { Window } from "./types";
import { WindowBar } from "./window";

/** A view: its name in addresses, its key, its title, what draws it. */
const views: { name: string; key: string; title: string; draw: () => preact.JSX.Element; whole?: boolean }[] = [
  { name: "health", key: "1", title: "Health", draw: Health },
  { name: "ledger", key: "2", title: "Time ledger", draw: LedgerView },
  { name: "ops", key: "3", title: "Operations", draw: OpsView },
  { name: "findings", key: "4", title: "Findings", draw: FindingsView },
  { name: "timeline", key: "5", title: "Timeline", draw: TimelineView },
  { name: "flame", key: "6", title: "Flame graph", draw: FlameView },
  { name: "thieves", key: "7", title: "Thieves", draw: ThievesView },
  { name: "graphs", key: "8", title: "CUDA graphs", draw: GraphsView },
  { name: "system", key: "9", title: "System", draw: SystemView },
  { name: "sessions", key: "s", title: "Sessions", draw: SessionsView, whole: true },
  { name: "capabilities", key: "c", title: "Capabilities", draw: CapabilitiesView, whole: true },
];

const keys: [string, string][] = [
  ["1 … 9, s, c", "go to a view"], ["w", "choose the window"], ["p", "choose a process"], ["l", "pause and resume"],
  ["t", "light, dark, or as the system is"], ["?", "this list"], ["Escape", "close; in the flame graph, zoom out"],
  ["arrows, Enter", "move and zoom in the flame graph"], ["arrows, +, −, 0, n, p", "move, zoom and step through slow calls in the timeline"],
];

type Theme = "light" | "dark" | "";

/** The theme, what the person chose, and what turns to the next choice. */
function useTheme(): [string, Theme, () => void] {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [chosen, choose] = useState<Theme>(() => (localStorage.getItem("ingero-theme") as Theme) ?? "");
  const [system, setSystem] = useState(dark.matches ? "dark" : "light");
  useEffect(() => {
    const f = () => setSystem(dark.matches ? "dark" : "light");
    dark.addEventListener("change", f);
    return () => dark.removeEventListener("change", f);
  }, []);
  const theme = chosen || system;
  document.documentElement.dataset.theme = theme;
  return [theme, chosen, () => choose(now => {
    const next: Record<Theme, Theme> = { "": "light", light: "dark", dark: "" };
    localStorage.setItem("ingero-theme", next[now]);
    return next[now];
  })];
}

/** The parameters of the window that nobody chose. The last minutes are asked
 *  for by their length: who asks the same shares the answer. */
function latest(w?: Window): Params {
  return w?.seconds === recent ? { since: recent + "s" } : { from: w?.from, to: w?.to };
}

// recent is the length of the window that the server takes by itself, s.
const recent = 300;

/** Counts announcements of new data; 0 while paused or nothing is new. */
function useLive(paused: boolean): [number, Link] {
  const [tick, setTick] = useState(0), [link, setLink] = useState<Link>("waiting");
  useEffect(() => {
    if (paused) return setLink("paused");
    return follow(() => setTick(n => n + 1), setLink);
  }, [paused]);
  return [tick, link];
}

function App() {
  const place = usePlace();
  const [theme, chosen, turn] = useTheme();
  const [paused, pause] = useState(false), [help, setHelp] = useState(false), [menu, setMenu] = useState(false);
  const [token, askToken] = useState<"" | "first" | "again">("");
  const [news, link] = useLive(paused || token !== "");
  const [given, give] = useState(0); // tokens: with a new one all is asked again
  const tick = news + given;
  const window = useWindow(place.args, tick);
  const view = views.find(v => v.name === place.view) ?? views[0];
  useEffect(() => onTokenWanted(again => askToken(again ? "again" : "first")), []);
  useEffect(() => { document.title = `${view.title} – ingero`; setMenu(false); }, [view]);
  useKeys(place, { l: () => pause(p => !p), t: turn, "?": () => setHelp(true) });
  const { since, from, to, pid } = place.args;
  const params = from || to || since ? { since, from, to, pid } : { ...latest(window.data), pid };
  const Draw = view.draw;
  return <>
    <a class="skip" href="#main" onClick={e => { e.preventDefault(); document.getElementById("main")!.focus(); }}>to the content</a>
    <header class="top">
      <button type="button" class="menu" aria-expanded={menu} aria-controls="views" onClick={() => setMenu(!menu)}>☰<span class="hidden"> views</span></button>
      <a class="brand" href={href("health", shared(place))}>ingero</a>
      <LinkState link={link} paused={paused} pause={() => pause(!paused)} />
      <button type="button" onClick={turn} title="light, dark, or as the system is (t)">{chosen || "auto"}<span class="hidden"> colours</span></button>
      <button type="button" onClick={() => setHelp(true)} aria-label="Keys" title="keys (?)">?</button>
    </header>
    <nav id="views" class={menu ? "open" : ""} aria-label="Views">{views.map(v =>
      <a key={v.name} href={href(v.name, shared(place))} aria-current={v === view ? "page" : undefined}>{v.title} <kbd aria-hidden="true">{v.key}</kbd></a>)}</nav>
    <main id="main" tabIndex={-1}>
      {window.data ? <ScopeContext.Provider value={{ params, window: window.data, asked: JSON.stringify([since, from, to, pid]), tick, theme }}>
        {!view.whole && <WindowBar place={place} window={window.data} tick={tick} />}
        {window.error && <p class="problem" role="alert">{window.error.message}</p>}
        {view.name !== "health" && <h1>{view.title}</h1>}
        <Draw key={view.name} />
      </ScopeContext.Provider> : window.error ? <Failed text={window.error.message} /> : <p class="quiet wait">Reading…</p>}
    </main>
    {help && <Dialog title="Keys" close={() => setHelp(false)}><dl class="keys">{keys.map(([k, t]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{t}</dd></div>)}</dl>
      <button type="button" onClick={() => setHelp(false)}>close</button></Dialog>}
    {token && <TokenDialog again={token === "again"} done={() => { askToken(""); give(n => n + 1); }} />}
  </>;
}

function Failed({ text }: { text: string }) {
  return <div class="empty"><p class="problem" role="alert">{text}</p><p><a href="#/health">Start again with the latest data</a>, or reload the page.</p></div>;
}

const linkText: Record<Link, string> = { live: "live", paused: "paused", waiting: "connecting", off: "not live" };

function LinkState({ link, paused, pause }: { link: Link; paused: boolean; pause: () => void }) {
  return <button type="button" class={"link-state " + link} aria-pressed={paused} onClick={pause}
    title={link === "off" ? "the server does not tell of new data: reload the page" : "pause or resume (l)"}><i aria-hidden="true" />{linkText[link]}</button>;
}

function TokenDialog({ again, done }: { again: boolean; done: () => void }) {
  const [text, set] = useState("");
  const submit = (e: Event) => { e.preventDefault(); setToken(text.trim()); done(); };
  return <Dialog title="This dashboard asks for a token">
    <form onSubmit={submit}>
      {again && <p class="problem" role="alert">That token is not the right one.</p>}
      <p>It is in the file that <code>ingero dashboard --token-file</code> names, or in <code>INGERO_TOKEN</code>. This tab remembers it until it is closed.</p>
      <label>token <input type="password" autocomplete="off" autofocus value={text} onInput={e => set(e.currentTarget.value)} /></label>
      <button type="submit">go on</button>
    </form>
  </Dialog>;
}

function useKeys(place: ReturnType<typeof usePlace>, more: Record<string, () => void>) {
  useEffect(() => {
    const f = (e: KeyboardEvent) => {
      const el = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName) || document.querySelector("dialog[open]")) return;
      const v = views.find(x => x.key === e.key);
      const first = { w: ".windowbar button", p: ".windowbar select" }[e.key];
      if (v) go(href(v.name, shared(place)));
      else if (first) document.querySelector<HTMLElement>(first)?.focus();
      else if (more[e.key]) more[e.key]();
      else return;
      e.preventDefault();
    };
    addEventListener("keydown", f);
    return () => removeEventListener("keydown", f);
  });
}

const root = document.getElementById("app")!;
root.replaceChildren();
render(<App />, root);

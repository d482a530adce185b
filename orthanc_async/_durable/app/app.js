// The page: asks the server again and again, and shows what it says.

import { html, render, useCallback, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Refusal, get, post } from "./api.js";
import { Entries, Question, Queues, Totals } from "./views.js";
import { LABELS, moment } from "./format.js";

const VISIBLE = 1000; // milliseconds between two looks
const HIDDEN = 30000;
const LONGEST = 30000; // while the server does not answer
const LIMIT = 50;

/** What the address says is to be shown; so that it can be kept, and sent to somebody. */
function chosenByAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = given.get("state") || "";
  return { queue: given.get("queue") || "", state: state in LABELS ? state : "" };
}

/** Calls `look` every second, less often while the page is hidden or `look` fails. */
function usePolling(look) {
  const [trouble, setTrouble] = useState(null);
  const latest = useRef(look);
  latest.current = look;
  const poller = useRef(null);
  if (poller.current === null) {
    let timer = 0;
    let running = false;
    let again = false;
    let failures = 0;
    const now = async () => {
      clearTimeout(timer);
      if (running) {
        again = true;
        return;
      }
      running = true;
      again = false;
      let pause = document.hidden ? HIDDEN : VISIBLE;
      try {
        await latest.current();
        failures = 0;
        setTrouble(null);
      } catch (error) {
        failures += 1;
        pause = Math.max(pause, Math.min(VISIBLE * 2 ** failures, LONGEST));
        setTrouble({ text: describe(error), seconds: Math.round(pause / 1000) });
      }
      running = false;
      timer = setTimeout(now, again ? 0 : pause);
    };
    poller.current = now;
  }
  useEffect(() => {
    const shown = () => !document.hidden && poller.current();
    document.addEventListener("visibilitychange", shown);
    poller.current();
    return () => document.removeEventListener("visibilitychange", shown);
  }, []);
  return [trouble, poller.current];
}

function describe(error) {
  if (error instanceof Refusal) {
    return error.status === 401 || error.status === 403
      ? `The server does not let you in (${error.message}): load the page again to log in`
      : `The server answers: ${error.message}`;
  }
  return "The server does not answer";
}

function App() {
  const [filter, setFilter] = useState(chosenByAddress);
  const [pages, setPages] = useState([]); // where the pages begin, the newest being left out
  const [overview, setOverview] = useState(null);
  const [list, setList] = useState(null);
  const [updated, setUpdated] = useState(null);
  const [message, setMessage] = useState(null);
  const [question, setQuestion] = useState(null);

  const before = pages.at(-1);
  const wanted = JSON.stringify([filter, before]);
  const newest = useRef(wanted);
  newest.current = wanted;

  const [trouble, lookNow] = usePolling(async () => {
    const found = await get("../async");
    // While the store does not answer, what was known before stays, and looks old.
    setOverview((known) => ({ ...found, Known: found.Queues ? found : known?.Known }));
    if (found.Problem !== null) {
      setUpdated(new Date());
      return;
    }
    const entries = await get("entries", { ...filter, before, limit: LIMIT });
    // What was asked for before another choice was made is not shown under that.
    if (newest.current === wanted) {
      setList(entries);
    }
    setUpdated(new Date());
  });

  const choose = useCallback((change) => {
    setFilter((old) => {
      const next = { ...old, ...change };
      const given = Object.entries(next).filter(([, value]) => value);
      history.replaceState(null, "", `#${new URLSearchParams(given)}`);
      return next;
    });
    setPages([]);
  }, []);

  useEffect(() => {
    const changed = () => {
      setFilter(chosenByAddress());
      setPages([]);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  useEffect(() => lookNow(), [wanted]);

  const act = useCallback(async (path, body, told) => {
    try {
      setMessage({ text: told(await post(path, body)) });
    } catch (error) {
      setMessage({ text: describe(error), failed: true });
    }
    lookNow();
  }, []);
  const ask = useCallback((text, word, agreed) => setQuestion({ text, word, agreed }), []);
  const problem = trouble
    ? `${trouble.text}. Trying again in ${trouble.seconds} s.`
    : overview?.Problem;

  return html`
    <header>
      <h1>Deliveries</h1>
      <p class="notes">
        ${overview?.Store && html`<span class="store">${overview.Store}</span>`}
        ${updated && html`<span class="updated">updated ${moment(updated)}</span>`}
        <a href="../../app/explorer.html">Orthanc Explorer</a>
      </p>
    </header>
    <div role="alert" class=${problem ? "problem" : ""}>${problem}</div>
    <div role="status" class=${message ? `message ${message.failed ? "failed" : ""}` : ""}>
      ${message &&
      html`<span>${message.text}</span>
        <button class="link" onClick=${() => setMessage(null)}>dismiss</button>`}
    </div>
    ${overview?.Known
      ? html`<main class=${problem ? "old" : ""}>
          <${Totals}
            states=${overview.Known.States}
            chosen=${filter.state}
            choose=${(state) => choose({ state })}
          />
          <section>
            <h2 id="queues-title">Queues</h2>
            <${Queues}
              queues=${overview.Known.Queues}
              chosen=${filter.queue}
              choose=${(queue) => choose({ queue })}
              ask=${ask}
              act=${act}
            />
          </section>
          <section>
            <${Heading} filter=${filter} choose=${choose} />
            ${list && html`<${Entries} entries=${list.Entries} act=${act} />`}
            <${Pager} pages=${pages} setPages=${setPages} next=${list?.Next} />
          </section>
        </main>`
      : !problem && html`<p>Loading…</p>`}
    <${Question} question=${question} close=${() => setQuestion(null)} />
  `;
}

function Heading({ filter, choose }) {
  const parts = [filter.state && LABELS[filter.state], filter.queue && `of ${filter.queue}`];
  const limited = parts.filter(Boolean).join(" ");
  return html`<h2 id="entries-title">Entries ${limited && html`<small>${limited}</small>`}</h2>
    ${limited &&
    html`<button class="link" onClick=${() => choose({ queue: "", state: "" })}>
      show all
    </button>`}`;
}

function Pager({ pages, setPages, next }) {
  if (!pages.length && !next) {
    return null;
  }
  return html`<nav class="actions" aria-label="Pages of entries">
    <button disabled=${!pages.length} onClick=${() => setPages([])}>Newest</button>
    <button disabled=${!pages.length} onClick=${() => setPages(pages.slice(0, -1))}>Newer</button>
    <button disabled=${!next} onClick=${() => setPages([...pages, next])}>Older</button>
    <span class="notes">page ${pages.length + 1}</span>
  </nav>`;
}

const place = document.getElementById("page");
place.replaceChildren();
render(html`<${App} />`, place);

// The parts of the page. They show what they are given; app.js knows what happens.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { LABELS, briefly, count, duration, explorerLink, moment, size } from "./format.js";

/** The numbers of all queues; each is a button that lists those entries. */
export function Totals({ states, chosen, choose }) {
  return html`<nav class="totals" aria-label="Entries by state">
    ${Object.keys(LABELS).map(
      (state) => html`<button
        key=${state}
        class=${`total ${state}`}
        aria-pressed=${chosen === state}
        onClick=${() => choose(chosen === state ? "" : state)}
      >
        <strong>${count(states[state])}</strong> ${LABELS[state]}
      </button>`,
    )}
  </nav>`;
}

export function Queues({ queues, chosen, choose, ask, act }) {
  if (!queues.length) {
    return html`<p>No queue has anything in it yet.</p>`;
  }
  return html`<div class="scroll" role="region" aria-labelledby="queues-title" tabindex="0">
    <table>
      <thead>
        <tr>
          <th scope="col">Queue</th>
          ${Object.values(LABELS).map(
            (label) => html`<th scope="col" class="number" key=${label}>${label}</th>`,
          )}
          <th scope="col" class="number">oldest</th>
          <th scope="col">Actions</th>
        </tr>
      </thead>
      <tbody>
        ${queues.map(
          (queue) => html`<${Queue}
            key=${queue.Name}
            queue=${queue}
            chosen=${chosen === queue.Name}
            choose=${choose}
            ask=${ask}
            act=${act}
          />`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Queue({ queue, chosen, choose, ask, act }) {
  const { Name: name, States: states } = queue;
  const path = `queues/${encodeURIComponent(name)}`;
  const finished = states.done + states.cancelled;
  const retry = () =>
    ask(`Try all ${count(states.dead)} failed entries of ${name} again?`, "Retry all", () =>
      act(`${path}/retry`, {}, (answer) => `${count(answer.Retried)} of ${name} are tried again`),
    );
  const purge = () =>
    ask(
      `Remove the ${count(finished)} done and cancelled entries of ${name} from the list? ` +
        "They cannot be shown again.",
      "Remove",
      () => act(`${path}/purge`, {}, (answer) => `${count(answer.Purged)} of ${name} removed`),
    );
  return html`<tr class=${chosen ? "chosen" : ""}>
    <th scope="row">
      <button class="link" aria-pressed=${chosen} onClick=${() => choose(chosen ? "" : name)}>
        ${name}
      </button>
      <${QueueNotes} queue=${queue} />
    </th>
    ${Object.keys(LABELS).map(
      (state) => html`<td key=${state} class=${`number ${states[state] ? state : "none"}`}>
        ${count(states[state])}
      </td>`,
    )}
    <td class="number">${queue.Oldest === null ? "–" : duration(queue.Oldest)}</td>
    <td class="actions">
      <button disabled=${!states.dead} onClick=${retry} aria-label=${`Retry failed of ${name}`}>
        Retry failed
      </button>
      <button disabled=${!finished} onClick=${purge} aria-label=${`Purge finished of ${name}`}>
        Purge finished
      </button>
    </td>
  </tr>`;
}

function QueueNotes({ queue }) {
  const gate = queue.Gate;
  return html`<span class="notes">
    ${queue.Kind || ""}
    ${!queue.Declared && html`<span class="badge dead">no script has it any more</span>`}
    ${gate &&
    gate.State !== "closed" &&
    html`<span class="badge dead">
      held back${gate.Wait > 0 ? `, tried again in ${duration(gate.Wait)}` : ""}
    </span>`}
  </span>`;
}

export function Entries({ entries, act }) {
  if (!entries.length) {
    return html`<p>Nothing here.</p>`;
  }
  return html`<div class="scroll" role="region" aria-labelledby="entries-title" tabindex="0">
    <table class="entries">
      <thead>
        <tr>
          <th scope="col">No.</th>
          <th scope="col">Queue</th>
          <th scope="col">What</th>
          <th scope="col">State</th>
          <th scope="col">Progress</th>
          <th scope="col">Changed</th>
          <th scope="col">Actions</th>
        </tr>
      </thead>
      ${entries.map((entry) => html`<${Row} key=${entry.ID} entry=${entry} act=${act} />`)}
    </table>
  </div>`;
}

function Row({ entry, act }) {
  const [open, setOpen] = useState(false);
  const id = `details-${entry.ID}`;
  const link = explorerLink(entry.Resource);
  const path = `entries/${entry.ID}`;
  const retried = ["dead", "cancelled"].includes(entry.State) || entry.DueIn > 0;
  const cancelled = ["waiting", "running"].includes(entry.State);
  return html`<tbody>
    <tr>
      <th scope="row" class="number">
        <button
          class="link"
          aria-expanded=${open}
          aria-controls=${id}
          aria-label=${`Details of entry ${entry.ID}`}
          onClick=${() => setOpen(!open)}
        >
          ${entry.ID}
        </button>
      </th>
      <td>${entry.Queue}</td>
      <td class="what">
        ${link
          ? html`<a href=${link} title=${entry.Resource}>${briefly(entry.Resource)}</a>`
          : html`<span>${entry.Resource || entry.Key}</span>`}
        ${entry.Error && html`<p class="error">${entry.Error}</p>`}
      </td>
      <td><${EntryState} entry=${entry} /></td>
      <td><${Progress} entry=${entry} /></td>
      <td><time datetime=${entry.Changed}>${moment(entry.Changed)}</time></td>
      <td class="actions">
        ${retried &&
        html`<button
          aria-label=${`Retry entry ${entry.ID}`}
          onClick=${() => act(`${path}/retry`, {}, () => `entry ${entry.ID} is tried again`)}
        >
          Retry
        </button>`}
        ${cancelled &&
        html`<button
          aria-label=${`Cancel entry ${entry.ID}`}
          onClick=${() => act(`${path}/cancel`, {}, () => `entry ${entry.ID} is cancelled`)}
        >
          Cancel
        </button>`}
      </td>
    </tr>
    ${open && html`<${Details} entry=${entry} id=${id} />`}
  </tbody>`;
}

function EntryState({ entry }) {
  const notes = [];
  if (entry.State === "dead" && entry.Reason) {
    notes.push(entry.Reason);
  }
  if (entry.Attempts) {
    notes.push(`${entry.Attempts} failed ${entry.Attempts === 1 ? "attempt" : "attempts"}`);
  }
  if (entry.DueIn > 0) {
    notes.push(`next in ${duration(entry.DueIn)}`);
  }
  return html`<span class=${`badge ${entry.State}`}>${LABELS[entry.State]}</span>
    <span class="notes line">${notes.join(", ")}</span>`;
}

function Progress({ entry }) {
  const { Done: done, Total: total, Bytes: bytes } = entry.Progress;
  const parts = [];
  if (total) {
    parts.push(`${count(done)} of ${count(total)}`);
  } else if (done) {
    parts.push(count(done));
  }
  if (bytes) {
    parts.push(size(bytes));
  }
  const label = `Progress of entry ${entry.ID}`;
  const running = entry.State === "running";
  return html`${total
      ? html`<progress max=${total} value=${Math.min(done, total)} aria-label=${label} />`
      : running && html`<progress aria-label=${label} />`}
    <span class="notes line">${parts.join(", ")}</span>`;
}

function Details({ entry, id }) {
  const [whole, setWhole] = useState(null);
  // Asked again when something has happened to it.
  useEffect(() => {
    let gone = false;
    get(`entries/${entry.ID}`).then(
      (answer) => !gone && setWhole(answer),
      (error) => !gone && setWhole({ Error: error.message }),
    );
    return () => {
      gone = true;
    };
  }, [entry.ID, entry.Changed, entry.State]);
  const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
  const names = ["Error", "Resource", "Key", "Payload", "Resume", "Created", "Server", "Job"];
  return html`<tr id=${id} class="details">
    <td colspan="7">
      ${whole === null
        ? "…"
        : html`<dl>
            ${names
              .filter((name) => whole[name] != null)
              .map(
                (name) => html`<dt key=${name}>${name}</dt>
                  <dd><pre>${shown(whole[name])}</pre></dd>`,
              )}
          </dl>`}
    </td>
  </tr>`;
}

/** A question before what cannot be undone. */
export function Question({ question, close }) {
  const dialog = useRef(null);
  useEffect(() => {
    if (question && dialog.current && !dialog.current.open) {
      dialog.current.showModal();
    }
  }, [question]);
  if (!question) {
    return null;
  }
  const agree = () => {
    close();
    question.agreed();
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="question">
    <p id="question">${question.text}</p>
    <div class="actions">
      <button class="main" onClick=${agree}>${question.word}</button>
      <button autofocus onClick=${close}>Leave as it is</button>
    </div>
  </dialog>`;
}

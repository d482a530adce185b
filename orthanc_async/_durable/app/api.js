// What the page asks of the server. All of it lies below /async/, wherever a proxy puts that.

const base = new URL("../", import.meta.url);
// fetch() refuses an address with a password in it, as the browser's address line may have had.
base.username = "";
base.password = "";
const PATIENCE = 15000; // milliseconds

/** The server has answered that it cannot do that. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, options) {
  const answer = await fetch(new URL(path, base), {
    cache: "no-store",
    credentials: "same-origin",
    signal: AbortSignal.timeout(PATIENCE),
    ...options,
  });
  const text = await answer.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Orthanc itself, or a proxy, answers some errors without JSON.
  }
  if (!answer.ok || body === null) {
    const reason = body?.Message || `${answer.status} ${answer.statusText}`.trim();
    throw new Refusal(answer.status, reason);
  }
  return body;
}

export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const text = new URLSearchParams(given).toString();
  return call(text ? `${path}?${text}` : path, { method: "GET" });
}

export function post(path, body = {}) {
  return call(path, {
    method: "POST",
    body: JSON.stringify(body),
    // Shows the server that this is no other site's form.
    headers: { "Content-Type": "application/json", "X-Orthanc-Async": "1" },
  });
}

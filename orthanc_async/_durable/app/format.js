// Numbers and times as people read them.

export const LABELS = {
  waiting: "waiting",
  running: "running",
  dead: "failed",
  done: "done",
  cancelled: "cancelled",
};

export const count = (number) => number.toLocaleString();

/** "45 s", "3 min", "2 h", "5 d". */
export function duration(seconds) {
  if (seconds < 100) {
    return `${Math.round(seconds)} s`;
  }
  if (seconds < 100 * 60) {
    return `${Math.round(seconds / 60)} min`;
  }
  return seconds < 48 * 3600
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86400)} d`;
}

/** "0.5 MB", "120 MB", "1.2 GB". */
export function size(bytes) {
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** The time of day, with the date unless it is today's. */
export function moment(text) {
  const when = new Date(text);
  const time = when.toLocaleTimeString();
  return when.toDateString() === new Date().toDateString()
    ? time
    : `${when.toLocaleDateString()} ${time}`;
}

const LEVELS = { patients: "patient", studies: "study", series: "series", instances: "instance" };

/** "study 0123abcd…4567cdef" of "/studies/0123abcd-…-4567cdef". */
export function briefly(resource) {
  const [, level, id] = resource.split("/");
  const parts = id.split("-");
  return `${LEVELS[level]} ${parts[0]}…${parts.at(-1)}`;
}

/** Where Orthanc Explorer shows a resource such as "/studies/…"; null when it does not. */
export function explorerLink(resource) {
  const [, level, id] = /^\/(\w+)\/([0-9a-f-]+)$/.exec(resource || "") || [];
  if (!LEVELS[level]) {
    return null;
  }
  const page = new URL("../../app/explorer.html", import.meta.url);
  page.hash = `${LEVELS[level]}?uuid=${id}`;
  return page.href;
}

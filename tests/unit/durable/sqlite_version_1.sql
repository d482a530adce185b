-- A file of the first version of the schema, as SQL.
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    resource TEXT,
    state TEXT NOT NULL,
    due REAL NOT NULL,
    token TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    reason TEXT,
    error TEXT,
    resume TEXT,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (queue, key)
);
CREATE INDEX entry_open ON entry (queue, due) WHERE state IN ('waiting', 'running');
CREATE INDEX entry_listed ON entry (queue, state);
CREATE TABLE subscription (
    name TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL,
    since TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE clock (latest REAL NOT NULL);
INSERT INTO clock VALUES (1700000009);
INSERT INTO entry VALUES
    (1, 'q', 'done', '{"n":1}', '/studies/1', 'done', 1700000000, NULL, 0, 0,
     1700000000, 1700000001, NULL, NULL, NULL, 3, 3, 99),
    (2, 'q', 'dead', '2', NULL, 'dead', 1700000000, NULL, 1, 0,
     1700000000, 1700000002, 'refused', '404', '{"at":1}', 0, 0, 0),
    (3, 'q', 'running', '3', NULL, 'running', 1700000060, '3-abc', 0, 2,
     1700000000, 1700000003, NULL, NULL, '"half"', 1, 2, 5),
    (4, 'p', 'waiting', '4', NULL, 'waiting', 1700000005, NULL, 4, 0,
     1700000004, 1700000004, NULL, 'late', NULL, 0, 0, 0);
INSERT INTO subscription VALUES ('p', 42, '20260101T000000');
PRAGMA application_id = 1332887923;
PRAGMA user_version = 1;

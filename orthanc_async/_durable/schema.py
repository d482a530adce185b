"""The tables of both stores, as steps from one version to the next.

Step n leads from version n to n + 1. What has been released is never changed: a change is a new
step. The state "purged" is a finished entry of which only the key is kept; its `reason` holds the
state that it had.
"""

from __future__ import annotations

PURGED = "purged"

# `due` is the time of the next attempt of a waiting entry, and the end of a running one's lease:
# so one index finds all that can be claimed.
SQLITE: tuple[tuple[str, ...], ...] = (
    (
        """
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
        )
        """,
        "CREATE INDEX entry_open ON entry (queue, due) WHERE state IN ('waiting', 'running')",
        "CREATE INDEX entry_listed ON entry (queue, state)",  # and by id, as any index
        """
        CREATE TABLE subscription (
            name TEXT PRIMARY KEY,
            cursor INTEGER NOT NULL,
            since TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE TABLE clock (latest REAL NOT NULL)",
        "INSERT INTO clock VALUES (0)",
    ),
    (
        "ALTER TABLE entry ADD COLUMN server TEXT",
        "ALTER TABLE subscription ADD COLUMN mark TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX entry_changed ON entry (state, changed_at)",
    ),
)

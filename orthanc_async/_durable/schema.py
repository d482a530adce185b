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

# `{schema}` stands for the schema's quoted name.
POSTGRES: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE {schema}.entry (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            queue text NOT NULL,
            key text NOT NULL,
            payload text NOT NULL,
            resource text,
            state text NOT NULL,
            due timestamptz NOT NULL,
            token text,
            attempts integer NOT NULL DEFAULT 0,
            interruptions integer NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            reason text,
            error text,
            resume text,
            done bigint NOT NULL DEFAULT 0,
            total bigint NOT NULL DEFAULT 0,
            bytes bigint NOT NULL DEFAULT 0,
            UNIQUE (queue, key)
        )
        """,
        """
        CREATE INDEX entry_open ON {schema}.entry (queue, due, id)
            WHERE state IN ('waiting', 'running')
        """,
        "CREATE INDEX entry_listed ON {schema}.entry (queue, state, id)",
        """
        CREATE TABLE {schema}.subscription (
            name text PRIMARY KEY,
            cursor bigint NOT NULL,
            since text NOT NULL
        )
        """,
        """
        CREATE TABLE {schema}.leader (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            holder text NOT NULL,
            server text NOT NULL,
            until timestamptz NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE {schema}.entry ADD COLUMN server text",
        "ALTER TABLE {schema}.subscription ADD COLUMN mark text NOT NULL DEFAULT ''",
        "CREATE INDEX entry_changed ON {schema}.entry (state, changed_at)",
    ),
)

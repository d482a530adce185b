-- A schema of the first version, as SQL.
CREATE SCHEMA {schema};
CREATE TABLE {schema}.version (version integer NOT NULL);
INSERT INTO {schema}.version VALUES (1);
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
);
CREATE INDEX entry_open ON {schema}.entry (queue, due, id) WHERE state IN ('waiting', 'running');
CREATE INDEX entry_listed ON {schema}.entry (queue, state, id);
CREATE TABLE {schema}.subscription (
    name text PRIMARY KEY,
    cursor bigint NOT NULL,
    since text NOT NULL
);
CREATE TABLE {schema}.leader (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    server text NOT NULL,
    until timestamptz NOT NULL
);
INSERT INTO {schema}.entry
    (queue, key, payload, resource, state, due, token, attempts, interruptions, created_at,
     changed_at, reason, error, resume, done, total, bytes)
VALUES
    ('q', 'done', '7', '/studies/1', 'done', now(), NULL, 0, 0, now(), now(),
     NULL, NULL, NULL, 3, 3, 99),
    ('q', 'running', '3', NULL, 'running', now(), '2-abc', 0, 2, now(), now(),
     NULL, NULL, '"half"', 1, 2, 5);
INSERT INTO {schema}.subscription VALUES ('p', 42, '20260101T000000');

"""What is said to PostgreSQL. `{schema}` stands for the quoted name of the schema.

The time is that of the statement, by the database's clock: unlike that of the moment it can be
compared with an index, and unlike that of the transaction it does not stand still while one waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orthanc_async._durable.schema import PURGED

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = "statement_timestamp()"
# What `records.read` takes, and then the time.
COLUMNS = f"""
    entry.id, entry.queue, entry.key, entry.payload, entry.resource, entry.state, entry.attempts,
    entry.interruptions, extract(epoch FROM entry.created_at)::float8,
    extract(epoch FROM entry.changed_at)::float8, extract(epoch FROM entry.due)::float8,
    entry.reason, entry.error, entry.resume, entry.done, entry.total, entry.bytes, entry.server,
    extract(epoch FROM {NOW})::float8
"""

# Numbered in the order given, but written in that of the keys: two servers that add the same keys
# then wait for each other in one direction only, and never dead-lock.
ADD = f"""
    WITH given AS MATERIALIZED (
        SELECT nextval(pg_get_serial_sequence(%(table)s, 'id')) AS id, given.*
        FROM unnest(%(queues)s::text[], %(keys)s::text[], %(payloads)s::text[],
                    %(resources)s::text[], %(delays)s::float8[]) WITH ORDINALITY
            AS given (queue, key, payload, resource, delay, position)
        ORDER BY position
    )
    INSERT INTO {{schema}}.entry
        (id, queue, key, payload, resource, state, due, created_at, changed_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, queue, key, payload, resource, 'waiting', {NOW} + delay * interval '1 s',
        {NOW}, {NOW}
    FROM given ORDER BY queue, key, position
    ON CONFLICT (queue, key) DO NOTHING
    RETURNING id, queue, key
"""  # noqa: S608 - names, no values; so below
KNOWN = """
    SELECT id, queue, key FROM {schema}.entry
    JOIN unnest(%(queues)s::text[], %(keys)s::text[]) AS given (queue, key) USING (queue, key)
"""

GIVE_BACK = f"""
    UPDATE {{schema}}.entry SET state = 'waiting', due = {NOW}, token = NULL
    WHERE queue = ANY(%(queues)s) AND state = 'running' AND token = id || '-' || %(nonce)s
"""  # noqa: S608
NEXT_DUE = f"""
    SELECT extract(epoch FROM min(first.due) - {NOW})::float8
    FROM unnest(%(queues)s::text[]) AS asked (queue)
    CROSS JOIN LATERAL (
        SELECT due FROM {{schema}}.entry
        WHERE entry.queue = asked.queue AND state IN ('waiting', 'running')
        ORDER BY due, id LIMIT 1
    ) AS first
"""  # noqa: S608
RENEW = f"""
    UPDATE {{schema}}.entry SET due = {NOW} + %(lease)s * interval '1 s'
    FROM unnest(%(ids)s::bigint[], %(tokens)s::text[]) AS given (id, token)
    WHERE entry.id = given.id AND entry.token = given.token
    RETURNING entry.token
"""  # noqa: S608
SAVE = """
    UPDATE {schema}.entry
    SET resume = given.resume, done = given.done, total = given.total, bytes = given.bytes
    FROM unnest(%(ids)s::bigint[], %(tokens)s::text[], %(resumes)s::text[], %(done)s::bigint[],
                %(totals)s::bigint[], %(bytes)s::bigint[])
        AS given (id, token, resume, done, total, bytes)
    WHERE entry.id = given.id AND entry.token = given.token
    RETURNING entry.token
"""
RETRY = f"""
    UPDATE {{schema}}.entry SET state = 'waiting', due = {NOW}, attempts = 0, interruptions = 0,
        reason = NULL, changed_at = {NOW}
    WHERE id = ANY(%(ids)s::bigint[]) AND state IN ('waiting', 'dead', 'cancelled')
"""  # noqa: S608
CANCEL = f"""
    UPDATE {{schema}}.entry SET state = 'cancelled', token = NULL, changed_at = {NOW}
    WHERE id = ANY(%(ids)s::bigint[]) AND state IN ('waiting', 'running')
"""  # noqa: S608

BEFORE = f"SELECT {NOW} - %(older)s * interval '1 s'"
_FINISHED = """
    changed_at <= %(until)s AND (%(queue)s::text IS NULL OR queue = %(queue)s::text)
"""
_SOME = f"""
    SELECT id FROM {{schema}}.entry WHERE state = %(state)s AND {_FINISHED}
    ORDER BY changed_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608
STRIP = f"""
    UPDATE {{schema}}.entry SET state = '{PURGED}', reason = state, payload = '', resource = NULL,
        error = NULL, resume = NULL, server = NULL
    WHERE id IN ({_SOME})
"""  # noqa: S608
REMOVE = f"DELETE FROM {{schema}}.entry WHERE id IN ({_SOME})"  # noqa: S608
FORGET = f"""
    DELETE FROM {{schema}}.entry
    WHERE state = '{PURGED}' AND reason = %(state)s AND {_FINISHED}
"""  # noqa: S608

ENTRY = f"""
    SELECT {COLUMNS} FROM {{schema}}.entry WHERE id = %(id)s AND state <> '{PURGED}'
"""  # noqa: S608
# Each queue's name, by the index: without reading the entries of a queue.
_QUEUES = """
    queues (name) AS (
        (SELECT queue FROM {schema}.entry ORDER BY queue LIMIT 1)
        UNION ALL
        SELECT (SELECT queue FROM {schema}.entry WHERE queue > name ORDER BY queue LIMIT 1)
        FROM queues WHERE name IS NOT NULL
    )
"""
# What is finished, which is most, is counted in the index.
COUNTS = f"""
    WITH RECURSIVE {_QUEUES}
    SELECT name, asked.state, number, NULL
    FROM queues CROSS JOIN unnest('{{{{done,dead,cancelled}}}}'::text[]) AS asked (state)
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM {{schema}}.entry
        WHERE queue = name AND entry.state = asked.state
    ) AS counted
    WHERE number > 0
    UNION ALL
    SELECT queue, state, count(*), extract(epoch FROM {NOW} - min(created_at))::float8
    FROM {{schema}}.entry WHERE state IN ('waiting', 'running') GROUP BY queue, state
"""  # noqa: S608

SUBSCRIBE = """
    INSERT INTO {schema}.subscription (name, cursor, since, mark)
    VALUES (%(name)s, %(cursor)s, %(since)s, %(mark)s) ON CONFLICT (name) DO NOTHING
"""
SUBSCRIPTIONS = "SELECT name, cursor, since, mark FROM {schema}.subscription"
MOVE = """
    UPDATE {schema}.subscription
    SET cursor = %(cursor)s, mark = coalesce(%(mark)s::text, mark)
    WHERE name = %(name)s AND (%(back)s OR cursor <= %(cursor)s)
"""

LEAD = f"""
    INSERT INTO {{schema}}.leader (holder, server, until)
    VALUES (%(holder)s, %(server)s, {NOW} + %(lease)s * interval '1 s')
    ON CONFLICT (one) DO UPDATE
    SET holder = excluded.holder, server = excluded.server, until = excluded.until
    WHERE leader.holder = excluded.holder OR leader.until <= {NOW}
"""  # noqa: S608
LEADS = f"""
    SELECT 1 FROM {{schema}}.leader WHERE holder = %(holder)s AND until > {NOW} FOR UPDATE
"""  # noqa: S608
RESIGN = f"""
    UPDATE {{schema}}.leader SET until = {NOW} WHERE holder = %(holder)s AND until > {NOW}
"""  # noqa: S608


def entries(*, by_queue: bool) -> str:
    """Return the statement for a page: a few of each queue and state, by the index, merged."""
    queues = "queues (name) AS (SELECT %(queue)s::text)" if by_queue else _QUEUES
    return f"""
        WITH RECURSIVE {queues}, page AS MATERIALIZED (
            SELECT found.id
            FROM queues CROSS JOIN unnest(%(states)s::text[]) AS asked (state)
            CROSS JOIN LATERAL (
                SELECT id FROM {{schema}}.entry
                WHERE queue = name AND entry.state = asked.state AND id < %(before)s
                ORDER BY id DESC LIMIT %(limit)s
            ) AS found
            ORDER BY found.id DESC LIMIT %(limit)s
        )
        SELECT {COLUMNS} FROM page JOIN {{schema}}.entry ON entry.id = page.id
        ORDER BY page.id DESC
    """  # noqa: S608


def claim(limits: Sequence[int]) -> str:
    """Return the statement that claims from so many queues: `queue0`, `queue1` and so on.

    The limits stand in the text: PostgreSQL takes an unknown one for a tenth of all rows, and
    then reads and sorts all. Materialized: what is locked is chosen once.
    """
    chosen = " UNION ALL ".join(
        f"""
        SELECT id, due FROM (
            SELECT id, due FROM {{schema}}.entry
            WHERE queue = %(queue{number})s AND state IN ('waiting', 'running') AND due <= {NOW}
            ORDER BY due, id LIMIT {int(limit)}
            FOR UPDATE SKIP LOCKED
        ) AS queue{number}
        """  # noqa: S608
        for number, limit in enumerate(limits)
    )
    return f"""
        WITH chosen AS MATERIALIZED ({chosen}), taken AS (
            UPDATE {{schema}}.entry SET
                interruptions = interruptions + (state = 'running')::integer,
                state = 'running', due = {NOW} + %(lease)s * interval '1 s',
                token = entry.id || '-' || %(nonce)s, changed_at = {NOW}, server = %(server)s
            FROM chosen WHERE entry.id = chosen.id
            RETURNING entry.*, chosen.due AS was_due
        )
        SELECT {COLUMNS} FROM taken AS entry ORDER BY was_due, id
    """  # noqa: S608
